package lvm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

// heldDevices names the device-mapper devices that only hold a number.
func heldDevices(t *testing.T) (held []string) {
	t.Helper()
	all, err := host.New(host.NewRunner()).MappedDevices()
	if err != nil {
		t.Fatal(err)
	}
	for name := range all {
		if strings.HasPrefix(name, "loam.held.") {
			held = append(held, name)
		}
	}
	return held
}

// A pod whose block volume was deactivated by hand still has the bind of its device node. The next volume must not
// get that number.
func TestADeviceDeactivatedByHandDoesNotShowTheNextVolume(t *testing.T) {
	for _, c := range []lvm.Config{{VolumeGroup: vg}, {VolumeGroup: vg, ThinPool: "tp"}} {
		t.Run(fmt.Sprintf("thin pool %q", c.ThinPool), func(t *testing.T) {
			k := kind{name: "bound", config: c, disks: 2, each: "140m"}
			k.prepare(t)
			p, h := open(t, c, host.NewRunner()), host.New(host.NewRunner())
			t.Cleanup(func() { empty(t, p) })
			for _, name := range []string{"first", "second", "third"} {
				must(t, second(p.Create(t.Context(), spec(name, 8*volume.MiB))))
			}
			device := attach(t, p, "first")
			target := filepath.Join(t.TempDir(), "target")
			must(t, os.WriteFile(target, nil, 0o600))
			owner := id("first").String()
			must(t, h.SetOwner(target, owner))
			must(t, h.Bind(t.Context(), device, target, false))
			if err := p.Detach(t.Context(), id("first")); !volume.Is(err, volume.InUse) {
				t.Errorf("Detach while it is bound: %v", err)
			}
			runLVM(t, "lvchange", "--activate", "n", vg+"/loam."+poolName+".v.first")

			for _, name := range []string{"second", "third", "first"} {
				if got := attach(t, p, name); got == device {
					t.Errorf("%s, which is bound at %s, was used again for %s", device, target, name)
				}
			}
			if text, err := os.ReadFile(target); err == nil && len(text) > 0 {
				t.Errorf("where the first is bound, %d bytes can be read", len(text))
			}
			if held := heldDevices(t); len(held) != 1 {
				t.Errorf("held are %v", held)
			}
			must(t, h.Unmount(t.Context(), target))
			for _, name := range []string{"second", "third", "first"} {
				must(t, p.Detach(t.Context(), id(name)))
			}
			if held := heldDevices(t); len(held) != 0 {
				t.Errorf("held are still %v", held)
			}
		})
	}
}

// A device that only has the name of the volume's is not taken for it.
func TestADeviceOfAnotherUUIDIsRefusedByName(t *testing.T) {
	smallGroup(t, 2, "120m")
	c := lvm.Config{VolumeGroup: vg}
	p := open(t, c, host.NewRunner())
	t.Cleanup(func() { empty(t, p) })
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	attach(t, p, "a") // wipes it
	must(t, p.Detach(t.Context(), id("a")))
	name := vg + "-loam." + poolName + ".v.a"
	run(t, "dmsetup", "create", "--uuid", "somebody-else", "--table", "0 16384 zero", name)
	refused := func(what string, err error) {
		t.Helper()
		if !volume.Is(err, volume.InUse) || !strings.Contains(err.Error(), "/dev/dm-") {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := p.Attach(t.Context(), id("a"), false)
	refused("Attach", err)
	_, err = p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 16 * volume.MiB})
	refused("Expand", err)
	refused("Delete", p.Delete(t.Context(), id("a")))
	if v, err := p.Get(t.Context(), id("a")); err != nil || v.Usable() == nil {
		t.Errorf("Get answered %+v, %v", v, err)
	}
	run(t, "dmsetup", "remove", name)
	attach(t, p, "a")
	must(t, p.Detach(t.Context(), id("a")))
}

// As the mount option "loop" makes it: a loop device above the volume's, mounted.
func TestAMountedLoopDeviceAboveAVolumeIsRefusedByName(t *testing.T) {
	smallGroup(t, 2, "120m")
	c := lvm.Config{VolumeGroup: vg}
	p := open(t, c, host.NewRunner())
	t.Cleanup(func() { empty(t, p) })
	must(t, second(p.Create(t.Context(), spec("a", 16*volume.MiB))))
	device, dir := attach(t, p, "a"), t.TempDir()
	run(t, "mkfs.ext4", "-q", device)
	loop := run(t, "losetup", "--find", "--show", device)
	if got := attach(t, p, "a"); got != device { // as the kubelet makes one of each block volume
		t.Errorf("attached as %s, and beside a loop device as %s", device, got)
	}
	run(t, "mount", loop, dir)
	_, err := p.Attach(t.Context(), id("a"), false)
	if !volume.Is(err, volume.InUse) || !strings.Contains(err.Error(), loop) {
		t.Errorf("Attach: %v", err)
	}
	if err := p.Detach(t.Context(), id("a")); !volume.Is(err, volume.InUse) {
		t.Errorf("Detach: %v", err)
	}
	run(t, "umount", dir)
	run(t, "losetup", "--detach", loop)
	must(t, p.Detach(t.Context(), id("a")))
}
