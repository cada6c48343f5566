package restart_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/scratch"
)

// TestAVolumeIsThawedWhenLoamIsKilledInASnapshot kills loam while it copies a volume, which is frozen
// meanwhile, since this pool cannot share blocks.
func TestAVolumeIsThawedWhenLoamIsKilledInASnapshot(t *testing.T) {
	hosttest.NeedsRoot(t)
	dir := t.TempDir()
	s := newServer(t, dir, "{directory: "+filepath.Join(dir, "ext4", "pool")+", create: true}")
	mountPoint, unmount, err := scratch.FileSystem(dir, "ext4", 2*volume.GiB)
	s.ok("make the file system of the pool", err)
	s.start()
	v := s.use(dir, "data", volume.Ext4, 320*volume.MiB, "")
	sum := s.fill(filepath.Join(v.target, "data"), 256*volume.MiB)

	name, attempts := "", 20 // a copy may end before it can be caught
	for i := 0; name == "" && i < attempts; i++ {
		if try := fmt.Sprint("snapshot-", i); s.killInSnapshot(v, try, filepath.Join(mountPoint, "pool", "new", "snapshot-"+try)) {
			name = try
		}
	}
	if name == "" {
		t.Fatalf("none of %d snapshots could be interrupted", attempts)
	}
	s.start()
	if listed := s.snapshots(); len(listed) > 0 {
		t.Errorf("the interrupted snapshot is listed: %v", listed)
	}
	s.mount(v)
	taken, err := s.controller.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: v.id})
	s.ok("CreateSnapshot, asked again", err)
	if listed := s.snapshots(); len(listed) != 1 {
		t.Errorf("after one snapshot, listed are %v", listed)
	}
	restored := s.use(dir, "restored", volume.Ext4, 320*volume.MiB, taken.GetSnapshot().GetSnapshotId())
	if has := s.sum(filepath.Join(restored.target, "data")); !bytes.Equal(has, sum) {
		t.Error("the file in the restored volume is another one")
	}
	for _, v := range []used{restored, v} {
		s.unmount(v)
		s.remove(v)
	}
	_, err = s.controller.DeleteSnapshot(t.Context(), &csi.DeleteSnapshotRequest{SnapshotId: taken.GetSnapshot().GetSnapshotId()})
	s.ok("DeleteSnapshot", err)
	s.empty()
	s.stop()
	s.ok("unmount the file system of the pool", unmount())
}

// killInSnapshot begins a snapshot and kills loam while the volume is frozen. It fails the test unless
// the volume then takes writes again. It reports false, and loam goes on, where the snapshot could not be
// caught half way. In half the pool makes the snapshot.
func (s *server) killInSnapshot(v used, name, half string) bool {
	s.Helper()
	answered := make(chan error, 1)
	request := &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: v.id}
	go func() {
		_, err := s.controller.CreateSnapshot(s.Context(), request)
		answered <- err
	}()
	process := s.process.Process
	for !hasBytes(filepath.Join(half, "image")) && len(answered) == 0 {
		runtime.Gosched()
	}
	s.ok("hold loam", process.Signal(syscall.SIGSTOP)) // so that it cannot finish while this looks
	s.waitUntilHeld(process.Pid)
	if !s.frozen(v.target) {
		s.ok("let loam go on", process.Signal(syscall.SIGCONT))
		s.ok("CreateSnapshot", <-answered)
		s.dropSnapshot(request)
		return false
	}
	written := make(chan error, 1)
	go func() {
		written <- os.WriteFile(filepath.Join(v.target, "after"), []byte("the file system takes writes again"), 0o600) // not synced: that may take long
	}()
	s.kill()
	killed := time.Now()
	if err := <-answered; err == nil {
		s.Error("a snapshot that was interrupted was answered as taken")
	}
	const seconds = 8 // less than the watchdog waits for a driver that says nothing
	select {
	case err := <-written:
		s.ok("write to the volume after loam was killed", err)
		s.Logf("count: killed in a snapshot: the volume took writes again %s later", time.Since(killed).Round(time.Millisecond))
	case <-time.After(seconds * time.Second):
		s.Fatalf("the volume is still frozen %d seconds after loam was killed", seconds)
	}
	return true
}

func (s *server) dropSnapshot(request *csi.CreateSnapshotRequest) {
	s.Helper()
	taken, err := s.controller.CreateSnapshot(s.Context(), request)
	s.ok("CreateSnapshot", err)
	_, err = s.controller.DeleteSnapshot(s.Context(), &csi.DeleteSnapshotRequest{SnapshotId: taken.GetSnapshot().GetSnapshotId()})
	s.ok("DeleteSnapshot", err)
}

// waitUntilHeld waits until a process has stopped running (proc_pid_stat(5)).
func (s *server) waitUntilHeld(pid int) {
	s.Helper()
	for begun := time.Now(); time.Since(begun) < patience; runtime.Gosched() {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		s.ok("look at loam", err)
		if strings.HasPrefix(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " T") {
			return
		}
	}
	s.Fatal("loam runs on")
}

// frozen reports whether the file system at a path is frozen: then nobody can freeze it again.
func (s *server) frozen(path string) bool {
	s.Helper()
	err := scratch.Run("fsfreeze", "--freeze", path)
	if err == nil {
		s.ok("thaw what was not frozen", scratch.Run("fsfreeze", "--unfreeze", path))
		return false
	}
	if !strings.Contains(err.Error(), "busy") {
		s.Fatal(err)
	}
	return true
}

func hasBytes(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() > 0
}

// fill writes random bytes to a file and returns their sum.
func (s *server) fill(path string, size volume.Size) []byte {
	s.Helper()
	f, err := os.Create(path)
	s.ok("make a file", err)
	sum := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, sum), rand.Reader, int64(size))
	s.ok("fill the file", errors.Join(err, f.Sync(), f.Close()))
	return sum.Sum(nil)
}

func (s *server) sum(path string) []byte {
	s.Helper()
	f, err := os.Open(path)
	s.ok("open the file", err)
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	s.ok("read the file", err)
	return sum.Sum(nil)
}
