package host_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// A path may lead to another file system than the one that the mount table has there. That one stays frozen, and it is said that
// nothing was unmounted.
func TestUnmountOfWhatOtherMountsLieOver(t *testing.T) {
	path, below, over := device(t, 64*volume.MiB), t.TempDir(), mounted(t)
	command(t, "mkfs.ext4", "-q", path)
	target := filepath.Join(below, "target")
	if err := errors.Join(os.Mkdir(target, 0o700), os.Mkdir(filepath.Join(over, "target"), 0o700)); err != nil {
		t.Fatal(err)
	}
	command(t, "mount", path, target)
	command(t, "mount", "--bind", over, below)
	command(t, "fsfreeze", "--freeze", over)
	h := host.New(host.NewRunner())
	err := h.Unmount(t.Context(), target)
	frozen := !writable(over, 100*time.Millisecond)
	if thawErr := host.Thaw(over); thawErr != nil {
		t.Error(thawErr)
	}
	if !frozen || !volume.Is(err, volume.Unavailable) {
		t.Errorf("Unmount: %v; what lies over the mount is still frozen: %t", err, frozen)
	}
	if err := os.Remove(filepath.Join(over, "target")); err != nil {
		t.Error(err)
	}
	if err := h.Unmount(t.Context(), target); !volume.Is(err, volume.Unavailable) {
		t.Errorf("Unmount where the path leads nowhere: %v", err)
	}
	command(t, "umount", below)
	if err := h.Unmount(t.Context(), target); err != nil {
		t.Error(err)
	}
}

// What nobody can thaw any more, since it has shut down, keeps no device from being detached when its last mount goes.
func TestAFileSystemThatHasShutDownLivesElsewhere(t *testing.T) {
	for _, fsType := range []volume.FSType{volume.Ext4, volume.XFS} {
		t.Run(string(fsType), func(t *testing.T) {
			h, path, dir := host.New(host.NewRunner()), device(t, 512*volume.MiB), t.TempDir()
			command(t, "mkfs."+string(fsType), "-q", path)
			command(t, "mount", path, dir)
			unseen, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC) // as a process that is not to be seen from here
			if err == nil {
				defer func() { _ = unix.Close(unseen) }()
				err = exec.Command("xfs_io", "-x", "-c", "shutdown", dir).Run()
			}
			if err = errors.Join(err, h.Unmount(t.Context(), dir)); err != nil {
				t.Fatal(err)
			}
			if e, err := h.Elsewhere(path); e.FSType != fsType || err != nil {
				t.Errorf("it is said to live elsewhere: %+v, %v", e, err)
			}
		})
	}
}

// The source of a mount is what whoever mounted it has said, such as a path on a disk that does not answer. None of that is asked.
func TestNoMountOfOthersIsWaitedFor(t *testing.T) {
	hangs, theirs, path := t.TempDir(), t.TempDir(), device(t, volume.MiB)
	mute, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0) // nobody answers
	if err != nil {
		t.Skipf("SKIPPED: this kernel has no FUSE: %v", err)
	}
	if err := unix.Mount("mute", hangs, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", mute.Fd())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(hangs, unix.MNT_DETACH) })
	command(t, "mount", "-t", "tmpfs", filepath.Join(hangs, "source"), theirs)
	t.Cleanup(func() { command(t, "umount", theirs) })
	h, answered := host.New(host.NewRunner()), make(chan error, 1)
	go func() {
		at, is, err := h.MountPoint(path)
		if err == nil && is {
			err = fmt.Errorf("%s is said to be mounted at %q", path, at)
		}
		answered <- err
	}()
	select {
	case err = <-answered:
	case <-time.After(5 * time.Second):
		err = errors.New("it hangs")
	}
	if err := errors.Join(err, mute.Close()); err != nil { // ends what hangs
		t.Error(err)
	}
}
