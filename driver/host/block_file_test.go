package host_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/volume"
)

// A loop device of a file in a mounted file system lies on the device of that, also where the file system has no device number
// of its own.
func TestALoopDeviceLiesOnTheDeviceOfItsFile(t *testing.T) {
	hosttest.NeedsRoot(t)
	for _, fsType := range []volume.FSType{volume.Ext4, volume.XFS, volume.Btrfs} {
		t.Run(string(fsType), func(t *testing.T) {
			h := host.New(host.NewRunner())
			lower := device(t, 512*volume.MiB)
			if err := h.Format(t.Context(), lower, host.Format{Type: fsType}); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := h.Mount(t.Context(), lower, dir, fsType, nil); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := h.Unmount(context.Background(), dir); err != nil {
					t.Error(err)
				}
			})
			below := dir
			if fsType == volume.Btrfs {
				below = filepath.Join(dir, "subvolume")
				command(t, "btrfs", "subvolume", "create", below)
			}
			file := filepath.Join(below, "file")
			if err := os.WriteFile(file, make([]byte, volume.MiB), 0o600); err != nil {
				t.Fatal(err)
			}
			upper, err := h.AttachLoop(t.Context(), file, false, volume.DefaultBlockBytes)
			if err != nil {
				t.Fatal(err)
			}
			id, _, err := host.Identify(file)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				var err error
				for range 6 { // others on this machine open each loop device for a look
					if err = h.DetachLoop(context.Background(), upper, id, file); !volume.Is(err, volume.InUse) {
						break
					}
				}
				if err != nil {
					t.Error(err)
				}
			})
			want, err := h.Device(lower)
			if err != nil {
				t.Fatal(err)
			}
			all, err := h.BlockDevices(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(all, func(d host.BlockDevice) bool { return d.Path == upper })
			if i < 0 || all[i].File == nil || all[i].File.ID != id || all[i].File.Path != file || !slices.Equal(all[i].Below, []host.DeviceNumber{want.Number}) {
				t.Fatalf("the device of %s is %+v, want it on %s", file, all[max(i, 0)], want.Number)
			}
		})
	}
}
