package host_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// A copy of a btrfs has its UUID. Since Linux 6.7 both can be mounted; before, the error says what is in the way.
func TestABtrfsBesideItsCopy(t *testing.T) {
	h := host.New(host.NewRunner())
	source, at := device(t, 256*volume.MiB), t.TempDir()
	if err := h.Format(t.Context(), source, host.Format{Type: volume.Btrfs}); err != nil {
		t.Fatal(err)
	}
	bytes, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	copied, other := device(t, 256*volume.MiB), t.TempDir()
	if err := os.WriteFile(copied, bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	mount := func(device, target string) error {
		t.Cleanup(func() { _ = unix.Unmount(target, 0) })
		return h.Mount(t.Context(), device, target, volume.Btrfs, nil)
	}
	if err := mount(source, at); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(at, "file"), []byte("of the source"), 0o600); err != nil {
		t.Fatal(err)
	}
	err = mount(copied, other)
	if host.KernelFrom(6, 7) {
		if err != nil {
			t.Fatal(err)
		}
	} else {
		if !volume.Is(err, volume.InUse) || !strings.Contains(err.Error(), source) || !strings.Contains(err.Error(), at) {
			t.Fatalf("the error is %v, and should name %s at %s", err, source, at)
		}
		if err := h.Unmount(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		if err := mount(copied, other); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(other, "file")); !os.IsNotExist(err) {
		t.Errorf("the copy shows a file that was written to its source: %v", err)
	}
	if err := h.Unmount(t.Context(), other); err != nil {
		t.Error(err)
	}
}
