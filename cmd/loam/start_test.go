package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host/watchdog"
)

// initialised is a line of GODEBUG=inittrace=1 (package runtime).
var initialised = regexp.MustCompile(`(?m)^init (\S+) @.* ms clock, ([0-9]+) bytes, [0-9]+ allocs$`)

// startTrace starts this test binary, which has all of loam in it, and returns the packages that it initialises with something to
// do, and the bytes that each allocates.
func startTrace(t *testing.T, args ...string) map[string]int {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Args = args
	c.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	packages := map[string]int{}
	for _, m := range initialised.FindAllStringSubmatch(string(out), -1) {
		if packages[m[1]], err = strconv.Atoi(m[2]); err != nil {
			t.Fatal(err)
		}
	}
	return packages
}

// The watchdog runs before most packages are initialised (decision 23). Those before it are the runtime and what it imports itself, and
// few others that come earlier in the alphabet and import nothing.
func TestTheWatchdogStartsBeforeLoamIsInitialised(t *testing.T) {
	const most = 40
	whole := startTrace(t, "loam", "-test.run=^$")
	if len(whole) < 3*most {
		t.Fatalf("%d packages are initialised in a whole loam: there is nothing to see here", len(whole))
	}
	for _, what := range []string{watchdog.Watch, watchdog.ThawLeft} {
		before := startTrace(t, watchdog.Name, what)
		if len(before) == 0 || len(before) > most {
			t.Errorf("%s: %d packages are initialised, of %d in a whole loam; want 1 to %d: %v", what, len(before), len(whole), most, before)
		}
		for name := range before {
			if strings.HasPrefix(name, "github.com/") && !strings.HasPrefix(name, "github.com/loam-storage/loam/driver/host/") {
				t.Errorf("%s: package %s is initialised before it", what, name)
			}
		}
	}
}

// What a command does not use costs it nothing: the packages of loam allocate no more at the start than their tables take.
func TestPackagesAreInitialisedWithLittle(t *testing.T) {
	const mostBytes = 32 << 10
	for name, bytes := range startTrace(t, "loam", "-test.run=^$") {
		own := strings.HasPrefix(name, "github.com/loam-storage/loam/")
		if own && !strings.HasSuffix(name, "/cmd/loam") && bytes > mostBytes { // this one has the patterns of its tests
			t.Errorf("package %s allocates %d bytes when it is initialised, more than %d: have what is needed made when it is (sync.OnceValue)", name, bytes, mostBytes)
		}
	}
}

// A pattern or template that a package variable holds is compiled at the first use (sync.OnceValue): each command would pay for it.
func TestNothingIsCompiledBeforeItIsUsed(t *testing.T) {
	compiles := map[string]bool{"regexp.MustCompile": true, "regexp.MustCompilePOSIX": true, "template.Must": true, "template.New": true, "promauto.New": true,
		"prometheus.MustRegister": true, "prometheus.NewRegistry": true}
	looked := 0
	for _, dir := range []string{"cmd", "controller", "driver", "node"} {
		err := filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			looked++
			for _, d := range file.Decls {
				if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
					ast.Inspect(g, func(n ast.Node) bool {
						if s, ok := n.(*ast.SelectorExpr); ok {
							if x, ok := s.X.(*ast.Ident); ok && compiles[x.Name+"."+s.Sel.Name] {
								t.Errorf("%s: %s.%s runs whenever loam starts", files.Position(n.Pos()), x.Name, s.Sel.Name)
							}
						}
						_, later := n.(*ast.FuncLit)
						return !later
					})
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if looked < 100 {
		t.Errorf("only %d files were looked at", looked)
	}
}
