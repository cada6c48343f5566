package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// event is a line of `go test -json` (go doc test2json, go help buildjson).
type event struct {
	Action     string
	Package    string
	ImportPath string // instead of Package, of what is built
	Test       string
	Output     string
	Elapsed    float64 // seconds
}

// test is a test, or a package where it has no name.
type test struct{ pkg, name string }

// running is what is known of a test that has not ended. What only printed something, and was never run,
// is no test.
type running struct {
	ran         bool
	output      []string
	subtests    bool
	failedBelow bool
}

type summary struct {
	out                     io.Writer
	tests                   map[test]*running
	passed, failed, skipped int
	failedIn                map[string]int    // by package
	slow                    map[string][]slow // by package
	skips                   []string
}

// slow is a test without subtests that took so long that somebody may want to know which it was.
type slow struct {
	name    string
	seconds float64
}

// A package names the slowest tests that took so many seconds, and as many of them.
const (
	slowSeconds = 20
	mostSlow    = 8
)

func newSummary(out io.Writer) *summary {
	return &summary{out: out, tests: map[test]*running{}, failedIn: map[string]int{}, slow: map[string][]slow{}}
}

// read reads events to the end. A line that is none is let through: it is the go command's own.
func (s *summary) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) == nil && e.Action != "" {
				s.take(e)
			} else {
				s.say("%s", strings.TrimRight(line, "\n"))
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *summary) say(format string, args ...any) { _, _ = fmt.Fprintf(s.out, format+"\n", args...) }

func (s *summary) of(t test) *running {
	if s.tests[t] == nil {
		s.tests[t] = &running{}
	}
	return s.tests[t]
}

func (s *summary) take(e event) {
	t := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		s.say("%s", strings.TrimRight(e.Output, "\n"))
	case "run":
		s.of(t).ran = true
		if parent := s.parentOf(t); parent != nil {
			parent.subtests = true
		}
	case "output":
		if r := s.of(t); !noise.MatchString(e.Output) {
			r.output = append(r.output, e.Output)
		}
		if text := prefix.ReplaceAllString(e.Output, ""); strings.HasPrefix(text, "count: ") {
			s.say("%s", strings.TrimSpace(text))
		}
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.endPackage(e)
		} else {
			if e.Elapsed >= slowSeconds && !s.of(t).subtests {
				s.slow[e.Package] = append(s.slow[e.Package], slow{e.Test, e.Elapsed})
			}
			s.end(t, e.Action)
		}
	}
}

// prefix is what t.Log puts in front of a line, noise what go test says of the course of tests.
var (
	prefix = regexp.MustCompile(`^\s*(?:\S+\.go:\d+: )?`)
	noise  = regexp.MustCompile(`^\s*(?:=== (?:RUN|PAUSE|CONT|NAME) |--- (?:PASS|SKIP): )`)
)

// parentOf returns the test that t is a subtest of, nil if it is none. A test ends after its subtests,
// and the name of a subtest may have slashes of its own: so it is the longest name of one that still
// runs.
func (s *summary) parentOf(t test) *running {
	for name := t.name; ; {
		i := strings.LastIndex(name, "/")
		if i < 0 {
			return nil
		}
		name = name[:i]
		if r := s.tests[test{t.pkg, name}]; r != nil && r.ran {
			return r
		}
	}
}

// end counts a test. One that has subtests is counted by them, unless it failed and none of them did.
func (s *summary) end(t test, action string) {
	r := s.of(t)
	delete(s.tests, t)
	switch {
	case action == "fail":
		if parent := s.parentOf(t); parent != nil {
			parent.failedBelow = true
		}
		s.print("FAIL "+t.pkg+" "+t.name, r.output)
		if !r.failedBelow {
			s.fail(t.pkg)
		}
	case r.subtests:
	case action == "skip":
		s.skipped++
		s.skips = append(s.skips, fmt.Sprintf("skipped: %s %s: %s", t.pkg, t.name, reason(r.output)))
	default:
		s.passed++
	}
}

func (s *summary) print(title string, output []string) {
	s.say("%s", title)
	for _, line := range output {
		s.say("    %s", strings.TrimRight(line, "\n"))
	}
}

func reason(output []string) string {
	var texts []string
	for _, line := range output {
		texts = append(texts, strings.TrimSpace(prefix.ReplaceAllString(line, "")))
	}
	return cmp.Or(strings.TrimSpace(strings.Join(texts, " ")), "no reason given")
}

func (s *summary) fail(pkg string) {
	s.failed++
	s.failedIn[pkg]++
}

// endPackage prints the line of a package.
func (s *summary) endPackage(e event) {
	s.cut(e.Package)
	own := s.of(test{pkg: e.Package})
	delete(s.tests, test{pkg: e.Package})
	switch {
	case e.Action == "pass":
		s.say("ok   %s %.1fs", e.Package, e.Elapsed)
	case e.Action == "fail" && s.failedIn[e.Package] > 0:
		s.say("FAIL %s %.1fs", e.Package, e.Elapsed)
	case e.Action == "fail": // it was not built, or ended outside of its tests
		s.print(fmt.Sprintf("FAIL %s %.1fs", e.Package, e.Elapsed), own.output)
		s.fail(e.Package)
	}
	s.saySlow(e.Package)
}

// saySlow names the slowest tests of a package.
func (s *summary) saySlow(pkg string) {
	all := s.slow[pkg]
	slices.SortFunc(all, func(a, b slow) int { return cmp.Compare(b.seconds, a.seconds) })
	for _, one := range all[:min(len(all), mostSlow)] {
		s.say("       %.0fs %s", one.seconds, one.name)
	}
	delete(s.slow, pkg)
}

// cut fails the tests of a package that have not ended: the process ended under them.
func (s *summary) cut(pkg string) {
	var left []test
	for t, r := range s.tests {
		if t.pkg == pkg && r.ran {
			left = append(left, t)
		}
	}
	slices.SortFunc(left, func(a, b test) int { return cmp.Compare(b.name, a.name) }) // subtests before their test
	for _, t := range left {
		s.end(t, "fail")
	}
	maps.DeleteFunc(s.tests, func(t test, _ *running) bool { return t.pkg == pkg && t.name != "" })
}

// close prints the skips and the closing line, and reports whether all is well.
func (s *summary) close() bool {
	var packages []string
	for t := range s.tests { // what has not ended when there is nothing more to read
		packages = append(packages, t.pkg)
	}
	for _, pkg := range packages {
		s.endPackage(event{Action: "fail", Package: pkg})
	}
	for _, skip := range s.skips {
		s.say("%s", skip)
	}
	ran := s.passed + s.failed + s.skipped
	if ran == 0 {
		s.say("no test ran")
	}
	s.say("%d passed, %d failed, %d skipped", s.passed, s.failed, s.skipped)
	return s.failed == 0 && ran > 0
}
