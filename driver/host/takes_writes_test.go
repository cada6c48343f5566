package host_test

import (
	"os"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// Whether a file system is frozen is found out without writing to it, and without a thread for each question.
func TestAFileSystemTakesWritesUnlessItIsFrozen(t *testing.T) {
	h := host.New(host.NewRunner())
	for _, fsType := range volume.FSTypes() {
		path, dir := device(t, 320*volume.MiB), t.TempDir()
		for _, err := range []error{h.Format(t.Context(), path, host.Format{Type: fsType}), h.Mount(t.Context(), path, dir, fsType, nil)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if !h.TakesWrites(t.Context(), dir) {
			t.Errorf("%s: it takes no writes", fsType)
		}
		command(t, "fsfreeze", "--freeze", dir)
		threads := func() int {
			all, err := os.ReadDir("/proc/self/task")
			if err != nil {
				t.Fatal(err)
			}
			return len(all)
		}
		if h.TakesWrites(t.Context(), dir) {
			t.Errorf("%s: it is frozen, and takes writes", fsType)
		}
		before := threads()
		for range 50 {
			if h.TakesWrites(t.Context(), dir) {
				t.Errorf("%s: it is frozen, and takes writes", fsType)
			}
		}
		if after := threads(); after > before+10 {
			t.Errorf("%s: 50 questions took %d threads", fsType, after-before)
		}
		command(t, "fsfreeze", "--unfreeze", dir)
		for until := time.Now().Add(time.Minute); !h.TakesWrites(t.Context(), dir); time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("%s: it is thawed, and takes no writes", fsType)
			}
		}
		if err := h.Unmount(t.Context(), dir); err != nil {
			t.Error(err)
		}
	}
	if dir := t.TempDir() + "/missing"; !h.TakesWrites(t.Context(), dir) {
		t.Error("a directory that is not there is not frozen")
	}
}
