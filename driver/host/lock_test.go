package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/loam-storage/loam/driver/host"
)

func TestWhoHasALockIsSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	first, second := open(), open()
	if says := host.LockHolder(second); says != "" {
		t.Errorf("nobody has it: %q", says)
	}
	if err := syscall.Flock(int(first.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	if says, want := host.LockHolder(second), fmt.Sprintf("process %d, %s", os.Getpid(), strings.TrimSpace(string(name))); says != want {
		t.Errorf("%q, want %q", says, want)
	}
}
