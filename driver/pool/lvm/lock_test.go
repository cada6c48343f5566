package lvm

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/loam-storage/loam/driver/pool/lvm/vg/vgtest"
	"github.com/loam-storage/loam/driver/volume"
)

// A pool waits a moment for the lock of one that was killed: a command that it was just starting may have it still.
func TestAPoolWaitsForItsLock(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root, for " + lockDirectory)
	}
	p := testPool(t, Config{VolumeGroup: "loamtestlock"})
	path := filepath.Join(lockDirectory, "loam-"+p.name+".loamtestlock")
	if err := os.MkdirAll(lockDirectory, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(path) })
	lock, err := os.Create(path)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	left := exec.Command("cat")
	left.ExtraFiles = []*os.File{lock} // with its lock
	input, err := left.StdinPipe()
	if err == nil {
		err = left.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	taken := make(chan error, 1)
	go func() { taken <- p.takeLock() }()
	until(t, func() bool { return isOpenHere(path) })
	if err := input.Close(); err != nil { // which ends it
		t.Fatal(err)
	}
	if err := <-taken; err != nil {
		t.Errorf("the lock was not waited for: %v", err)
	}
	if err := left.Wait(); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// A command that waited for LVM's lock until it was killed is explained.
func TestACommandThatIsLockedOut(t *testing.T) {
	killed := volume.Errorf(volume.Internal, "lvm did not end within 2m0s and was killed")
	f := &vgtest.LVM{Disks: []string{"/dev/vda"}, Change: func(*vgtest.LVM, []string) error { return killed }}
	p := fakePool(t, f)
	path := filepath.Join(f.Locks, "V_vg0")
	lock, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := p.Create(t.Context(), specOf("a")); !volume.Is(err, volume.Internal) {
		t.Errorf("without a lock: %v", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Create(t.Context(), specOf("a")); !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "2m0s") {
		t.Errorf("while somebody has the lock: %v", err)
	}
}

// isOpenHere reports whether this process has a file open.
func isOpenHere(path string) bool {
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == path {
			return true
		}
	}
	return false
}
