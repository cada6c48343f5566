package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// summarize runs `go test -json` in a new module of the given files and returns what is said of it.
func summarize(t *testing.T, files map[string]string) (text string, well bool) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module m\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "go", "test", "-json", "./...")
	command.Dir = dir
	output, _ := command.Output() // its exit code is what the summary has to find out
	var out bytes.Buffer
	s := newSummary(&out)
	if err := s.read(bytes.NewReader(output)); err != nil {
		t.Fatal(err)
	}
	well = s.close()
	return out.String(), well
}

func testFile(body string) string {
	return "package p\n\nimport (\"fmt\"; \"os\"; \"testing\")\n\nvar _, _ = fmt.Sprint, os.Exit\n\n" + body
}

func TestSummaryOfTests(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command here to make the input with")
	}
	for name, c := range map[string]struct {
		files        map[string]string
		well         bool
		last         string
		says, hushes []string
	}{
		"all pass": {
			files: map[string]string{"a/a_test.go": testFile(`
				func TestA(t *testing.T) { t.Log("chatter"); fmt.Println("count: 3 things") }
				func TestB(t *testing.T) { t.Run("x", func(t *testing.T) { t.Log("count: 4 things") }); t.Run("y", func(t *testing.T) {}) }`)},
			well: true, last: "3 passed, 0 failed, 0 skipped",
			says: []string{"\ncount: 4 things\n", "count: 3 things\n", "ok   m/a"}, hushes: []string{"chatter"},
		},
		"skips have their reason": {
			files: map[string]string{"a/a_test.go": testFile(`
				func TestA(t *testing.T) { t.Skip("needs root") }
				func TestB(t *testing.T) { t.Run("x", func(t *testing.T) { t.SkipNow() }) }
				func TestC(t *testing.T) {}`)},
			well: true, last: "1 passed, 0 failed, 2 skipped",
			says: []string{"skipped: m/a TestA: needs root\n", "skipped: m/a TestB/x: no reason given\n"},
		},
		"names with slashes of their own": {
			files: map[string]string{"a/a_test.go": testFile(`
				func TestA(t *testing.T) {
					t.Run("delete n2/fast/v", func(t *testing.T) {})
					t.Run("n2", func(t *testing.T) { t.Run("fast/v", func(t *testing.T) {}) })
					t.Run("n2/fast", func(t *testing.T) { t.Run("x", func(t *testing.T) { t.Skip("not here") }) })
					t.Run("at /dev/loop7", func(t *testing.T) {})
					t.Run("twice/x", func(t *testing.T) {})
					t.Run("twice/x", func(t *testing.T) {})
				}`)},
			well: true, last: "5 passed, 0 failed, 1 skipped",
			says: []string{"skipped: m/a TestA/n2/fast/x: not here\n"}, hushes: []string{"FAIL"},
		},
		"a failure in names with slashes of their own": {
			files: map[string]string{"a/a_test.go": testFile(`
				func TestA(t *testing.T) {
					t.Run("delete n2/fast/v", func(t *testing.T) { t.Run("a/b", func(t *testing.T) { t.Error("went wrong") }) })
					t.Run("delete n2/fast/w", func(t *testing.T) {})
				}
				func TestB(t *testing.T) { t.Run("p/q/r", func(t *testing.T) { os.Exit(3) }) }`)},
			last: "1 passed, 2 failed, 0 skipped",
			says: []string{"FAIL m/a TestA/delete_n2/fast/v/a/b\n", "FAIL m/a TestB/p/q/r\n"}, hushes: []string{"FAIL m/a TestA/delete_n2\n", "FAIL m/a TestB/p\n"},
		},
		"what failed says why": {
			files: map[string]string{
				"a/a_test.go": testFile(`
				func TestA(t *testing.T) { t.Log("chatter") }
				func TestB(t *testing.T) { t.Run("x", func(t *testing.T) { t.Error("went wrong") }); t.Run("y", func(t *testing.T) {}) }
				func TestC(t *testing.T) { t.Run("x", func(t *testing.T) {}); t.Error("and this") }`),
				"b/b_test.go": testFile(`func TestA(t *testing.T) {}`)},
			last: "4 passed, 2 failed, 0 skipped",
			says: []string{"FAIL m/a TestB/x\n", "went wrong", "and this", "FAIL m/a ", "ok   m/b"}, hushes: []string{"chatter"},
		},
		"a package that does not build": {
			files: map[string]string{"a/a_test.go": testFile(`func TestA(t *testing.T) { undefined() }`), "b/b_test.go": testFile(`func TestA(t *testing.T) {}`)},
			last:  "1 passed, 1 failed, 0 skipped", says: []string{"undefined: undefined", "FAIL m/a"},
		},
		"a panic": {
			files: map[string]string{"a/a_test.go": testFile(`
				func TestA(t *testing.T) {}
				func TestB(t *testing.T) { t.Run("x", func(t *testing.T) { panic("the end") }) }
				func TestC(t *testing.T) {}`)},
			last: "1 passed, 1 failed, 0 skipped", says: []string{"panic: the end", "FAIL m/a TestB/x"},
		},
		"a process that ends under its tests": {
			files: map[string]string{"a/a_test.go": testFile(`
				func TestA(t *testing.T) { t.Run("x", func(t *testing.T) { os.Exit(3) }) }`)},
			last: "0 passed, 1 failed, 0 skipped", says: []string{"FAIL m/a"},
		},
		"a process that ends outside of its tests": {
			files: map[string]string{"a/a_test.go": testFile(`
				func TestA(t *testing.T) {}
				func TestMain(m *testing.M) { m.Run(); fmt.Println("left something"); os.Exit(1) }`)},
			last: "1 passed, 1 failed, 0 skipped", says: []string{"left something", "FAIL m/a"},
		},
		"nothing ran": {
			files: map[string]string{"a/a.go": "package p\n"},
			last:  "0 passed, 0 failed, 0 skipped", says: []string{"no test ran"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, well := summarize(t, c.files)
			lines := strings.Split(strings.TrimSpace(text), "\n")
			if last := lines[len(lines)-1]; well != c.well || last != c.last {
				t.Errorf("well %t, last line %q; want %t, %q\n%s", well, last, c.well, c.last, text)
			}
			for _, says := range c.says {
				if !strings.Contains(text, says) {
					t.Errorf("%q is missing in\n%s", says, text)
				}
			}
			for _, hushes := range c.hushes {
				if strings.Contains(text, hushes) {
					t.Errorf("%q is in\n%s", hushes, text)
				}
			}
		})
	}
}

// A go command that is killed leaves a test without an end, and maybe half a line.
func TestInputThatIsCutOffFails(t *testing.T) {
	var out bytes.Buffer
	s := newSummary(&out)
	err := s.read(strings.NewReader(`{"Action":"run","Package":"m","Test":"TestA"}
{"Action":"output","Package":"m","Test":"TestA","Output":"at work\n"}
{"Action":"outp`))
	if well := s.close(); err != nil || well || !strings.Contains(out.String(), "at work") || !strings.HasSuffix(out.String(), "\n0 passed, 1 failed, 0 skipped\n") {
		t.Errorf("well %t, %v\n%s", well, err, out.String())
	}
}

// Where a suite has become slow is to be seen from what it printed.
func TestSlowTestsAreNamed(t *testing.T) {
	var out bytes.Buffer
	s := newSummary(&out)
	events := `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/x"}
{"Action":"pass","Package":"p","Test":"TestA/x","Elapsed":31.4}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":31.5}
{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Test":"TestB","Elapsed":60}
{"Action":"run","Package":"p","Test":"TestC"}
{"Action":"pass","Package":"p","Test":"TestC","Elapsed":19.9}
{"Action":"pass","Package":"p","Elapsed":111}
`
	if err := s.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	s.close()
	if want := "ok   p 111.0s\n       60s TestB\n       31s TestA/x\n3 passed, 0 failed, 0 skipped\n"; out.String() != want {
		t.Errorf("it says\n%swant\n%s", out.String(), want)
	}
}
