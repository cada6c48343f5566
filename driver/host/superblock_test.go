package host_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

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
