package lvm_test

import (
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

// A disk that the administrator adds is found without a restart, by reading and by changing.
func TestAGroupThatGrowsIsSeen(t *testing.T) {
	volumeGroup(t, 1)
	added := testDisks(t, 3)[1:3]
	p := open(t, lvm.Config{VolumeGroup: vg}, host.NewRunner())
	t.Cleanup(func() {
		empty(t, p)
		for _, d := range added {
			runLVM(t, "vgreduce", vg, d)
			runLVM(t, "pvremove", "--yes", d)
		}
	})
	before := status(t, p)
	runLVM(t, "vgextend", "--yes", vg, added[0])
	if after := status(t, p); after.FreeBytes <= before.FreeBytes || !after.Healthy {
		t.Errorf("Status answered %+v, then %+v", before, after)
	}
	runLVM(t, "vgextend", "--yes", vg, added[1])
	if _, err := p.Create(t.Context(), spec("a", before.FreeBytes*2)); err != nil {
		t.Fatal(err)
	}
	if v, err := p.Get(t.Context(), id("a")); err != nil || v.Size < before.FreeBytes*2 {
		t.Errorf("Get answered %+v, %v", v, err)
	}
}

func status(t *testing.T, p pool.Pool) volume.PoolStatus {
	t.Helper()
	s, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// legSectors is the size of a leg.
const legSectors = "524288"

// leg makes a device that can be made to fail, out of the middle of one of the test disks: at its
// beginning, LVM would find its label on the disk as well.
func leg(t *testing.T, name, disk string) string {
	t.Helper()
	run(t, "dmsetup", "create", name, "--table", "0 "+legSectors+" linear "+disk+" 2048")
	t.Cleanup(func() { run(t, "dmsetup", "remove", "--force", name) })
	run(t, "wipefs", "--all", "--force", "/dev/mapper/"+name) // what an earlier test lost with it is still there
	return "/dev/mapper/" + name
}

// A volume on RAID survives the loss of a disk, and Status says that it is lost. Nothing is changed in a
// group that lacks one.
func TestALostDisk(t *testing.T) {
	disks := testDisks(t, 3)
	wipedAfter(t, disks[:3]...)
	legs := []string{leg(t, "loamleg0", disks[0]), leg(t, "loamleg1", disks[1])}
	runLVM(t, append([]string{"vgcreate", "--yes", "--physicalextentsize", "1m", vg}, legs...)...)
	p := open(t, lvm.Config{VolumeGroup: vg, Type: lvm.RAID1}, host.NewRunner())
	defer p.Close()
	if _, err := p.Create(t.Context(), spec("a", 8*volume.MiB)); err != nil {
		t.Fatal(err)
	}
	device, err := p.Attach(t.Context(), id("a"), false)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		run(t, "sh", "-c", "printf '%-4096s' "+text+" | dd of="+device+" bs=4096 oflag=direct conv=notrunc 2>/dev/null")
		if got := run(t, "sh", "-c", "dd if="+device+" bs=4096 count=1 iflag=direct 2>/dev/null"); strings.TrimSpace(got) != text {
			t.Errorf("%s holds %q, want %q", device, got, text)
		}
	}
	write("whole")
	run(t, "dmsetup", "suspend", "--noflush", "--nolockfs", "loamleg1")
	run(t, "dmsetup", "load", "loamleg1", "--table", "0 "+legSectors+" error")
	run(t, "dmsetup", "resume", "loamleg1")
	write("degraded")
	if s := status(t, p); s.Healthy || !strings.Contains(s.Message, "disk") || s.LargestBytes != 0 {
		t.Errorf("Status answered %+v", s)
	}
	if v, err := p.Get(t.Context(), id("a")); err != nil || v.Device != device {
		t.Errorf("Get answered %+v, %v", v, err)
	}
	if _, err := p.Create(t.Context(), spec("b", 8*volume.MiB)); !volume.Is(err, volume.Unavailable) {
		t.Errorf("Create: %v", err)
	}
	if _, err := p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 16 * volume.MiB}); !volume.Is(err, volume.Unavailable) {
		t.Errorf("Expand: %v", err)
	}
	if err := p.Delete(t.Context(), id("a")); !volume.Is(err, volume.Unavailable) {
		t.Errorf("Delete: %v", err)
	}
	write("still")
	// As docs/lvm.md says.
	runLVM(t, "vgextend", "--yes", vg, disks[2])
	runLVM(t, "lvconvert", "--yes", "--repair", vg+"/loam.fast.v.a")
	runLVM(t, "vgreduce", "--removemissing", vg)
	if s := status(t, p); !s.Healthy {
		t.Errorf("after the repair Status answered %+v", s)
	}
	write("repaired")
	if _, err := p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 16 * volume.MiB}); err != nil {
		t.Error(err)
	}
	if err := p.Detach(t.Context(), id("a")); err != nil {
		t.Error(err)
	}
	if err := p.Delete(t.Context(), id("a")); err != nil {
		t.Error(err)
	}
	runLVM(t, "vgremove", "--force", vg)
}
