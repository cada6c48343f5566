package hosttest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/host"
)

// NeedsRoot skips the test where this process may not make loop devices and mounts.
func NeedsRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for loop devices and mounts: run it with sudo")
	}
}

// LeaveNothing runs the tests of a package with a temporary directory of their own, and fails if a
// loop device, a mount, a process or a file of theirs is left afterwards. It is called in TestMain:
//
//	os.Exit(hosttest.LeaveNothing(m.Run))
func LeaveNothing(run func() int) int {
	dir, err := os.MkdirTemp("", "loam-test-")
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err == nil {
		err = os.Setenv("TMPDIR", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL: make a temporary directory:", err)
		return 1
	}
	code := run()
	// Who looks at a loop device keeps it a moment longer.
	for until := time.Now().Add(10 * time.Second); len(loopsBelow(dir)) > 0 && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond)
	}
	left, err := Leftovers(dir)
	if err != nil {
		left = append(left, "and more may be: "+err.Error())
	}
	for _, what := range left {
		fmt.Fprintln(os.Stderr, "FAIL: left behind:", what)
		code = max(code, 1)
	}
	if len(left) == 0 {
		_ = os.Remove(dir)
	}
	return code
}

// Leftovers names the loop devices and mounts on files below dir, the files in it, and the child
// processes of this one.
func Leftovers(dir string) (left []string, err error) {
	mounts, err := host.New(host.NewRunner()).Mounts()
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		if m.Target == dir || strings.HasPrefix(m.Target, dir+"/") {
			left = append(left, fmt.Sprintf("mount of %s at %s", m.Source, m.Target))
		}
	}
	left = append(left, loopsBelow(dir)...)
	children, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return left, err
	}
	for _, path := range children {
		text, err := os.ReadFile(path)
		if err == nil && len(text) > 0 {
			left = append(left, "process "+strings.TrimSpace(string(text)))
		}
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, "file "+filepath.Join(dir, e.Name()))
	}
	return left, err
}

// loopsBelow names the loop devices on files below dir.
func loopsBelow(dir string) (loops []string) {
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file") // the pattern is well formed
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err == nil && strings.HasPrefix(string(text), dir+"/") { // an error: it went away meanwhile
			loops = append(loops, fmt.Sprintf("%s on %s", strings.Split(path, "/")[3], strings.TrimSpace(string(text))))
		}
	}
	return loops
}
