package host_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/volume"
)

// shutDown makes an xfs do nothing any more, as it does itself when its disk fails (XFS_IOC_GOINGDOWN).
func shutDown(t *testing.T, mountPoint string) {
	t.Helper()
	dir, err := os.Open(mountPoint)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	const request, withoutLog = 0x8004587d, 2
	if err := unix.IoctlSetPointerInt(int(dir.Fd()), request, withoutLog); err != nil {
		t.Fatal(err)
	}
}

// A device whose file cannot be asked is nobody's concern but that file's.
func TestALoopDeviceOnADiskThatFailedHidesNoOther(t *testing.T) {
	hosttest.NeedsRoot(t)
	h, dir := host.New(host.NewRunner()), t.TempDir()
	disk := device(t, volume.XFS.Least())
	command(t, "mkfs.xfs", "-q", disk)
	command(t, "mount", disk, dir)
	t.Cleanup(func() { command(t, "umount", dir) })

	files := map[string]host.FileID{}
	for _, path := range []string{filepath.Join(dir, "image"), filepath.Join(t.TempDir(), "attached"), filepath.Join(t.TempDir(), "other")} {
		if err := os.WriteFile(path, make([]byte, 64<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		file, _, err := host.Identify(path)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = file
		if filepath.Base(path) == "other" {
			continue
		}
		attached, err := h.AttachLoop(t.Context(), path, false, volume.DefaultBlockBytes)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			command(t, "losetup", "--detach", attached) // DetachLoop asks first
			waitUntilGone(t, "/sys/block/"+filepath.Base(attached)+"/loop")
		})
	}
	shutDown(t, dir)

	all, err := h.Loops()
	if err != nil {
		t.Fatal(err)
	}
	for path, file := range files {
		name := filepath.Base(path)
		listed := slices.ContainsFunc(all, func(l host.Loop) bool { return l.File == file })
		found, _, err := h.LoopsOf(path, file)
		if attached := name == "attached"; listed != attached || (len(found) == 1) != attached || (err != nil) != (name == "image") {
			t.Errorf("%s: Loops has it: %t; LoopsOf answered %v, %v", name, listed, found, err)
		}
	}
}

// waitUntilGone waits for the end of a device that somebody else may be looking at.
func waitUntilGone(t *testing.T, path string) {
	t.Helper()
	for until := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(path); os.IsNotExist(err) {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%s is still there", path)
		}
	}
}

// Each process that is being started holds for a moment what is open exclusively in this one.
func TestADeviceThatIsLetGoInAMomentIsClaimed(t *testing.T) {
	h, disk := host.New(host.NewRunner()), device(t, volume.MiB)
	held, err := os.OpenFile(disk, os.O_RDONLY|unix.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	time.AfterFunc(100*time.Millisecond, func() { closed <- held.Close() })
	release, err := h.Claim(disk)
	if err != nil {
		t.Fatalf("Claim: %v", err)
	}
	release()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := h.Zero(t.Context(), disk); err != nil {
		t.Errorf("Zero: %v", err)
	}
}
