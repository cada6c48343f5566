package lvm_test

import (
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

// Neither of the volumes and pools beside ours in the group changes, whatever they are called.
func TestForeignVolumesAreLeftAlone(t *testing.T) {
	volumeGroup(t, 1)
	c := lvm.Config{VolumeGroup: vg}
	must(t, open(t, c, host.NewRunner()).Close()) // or it would be another node's group
	runLVM(t, "lvcreate", "--yes", "--activate", "n", "--zero", "n", "--wipesignatures", "n", "--size", "8m", "--name", "loam.fast.v.a", vg)
	runLVM(t, "lvcreate", "--yes", "--activate", "n", "--zero", "n", "--wipesignatures", "n", "--size", "8m", "--name", "loam.fast.v.b", "--addtag", "loam.storage/volume=n2/fast/b", vg)
	runLVM(t, "lvcreate", "--yes", "--zero", "n", "--wipesignatures", "n", "--size", "8m", "--name", "loam.fast.v.c", vg)
	state := func() string {
		return runLVM(t, "lvs", "--noheadings", "-o", "lv_uuid,lv_name,lv_size,lv_attr,lv_tags", vg)
	}
	before := state()
	p := open(t, c, host.NewRunner())
	other, err := lvm.Open(t.Context(), "slow", node, c, host.New(host.NewRunner()), host.NewRunner())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(); _ = other.Close() })
	for _, name := range []string{"a", "b", "c"} {
		if _, err := p.Create(t.Context(), spec(name, 8*volume.MiB)); !volume.Is(err, volume.Exists) {
			t.Errorf("Create(%s): %v", name, err)
		}
		if _, err := p.Get(t.Context(), id(name)); !volume.Is(err, volume.NotFound) {
			t.Errorf("Get(%s): %v", name, err)
		}
		if _, err := p.Expand(t.Context(), id(name), volume.Range{RequiredBytes: 16 * volume.MiB}); !volume.Is(err, volume.NotFound) {
			t.Errorf("Expand(%s): %v", name, err)
		}
		if _, err := p.Attach(t.Context(), id(name), false); !volume.Is(err, volume.NotFound) {
			t.Errorf("Attach(%s): %v", name, err)
		}
		if err := p.Mark(t.Context(), id(name), volume.Used); !volume.Is(err, volume.NotFound) {
			t.Errorf("Mark(%s): %v", name, err)
		}
		if err := p.Detach(t.Context(), id(name)); err != nil {
			t.Errorf("Detach(%s): %v", name, err)
		}
		if err := p.Delete(t.Context(), id(name)); err != nil {
			t.Errorf("Delete(%s): %v", name, err)
		}
	}
	if after := state(); after != before {
		t.Errorf("the logical volumes were\n%s\nand are\n%s", before, after)
	}
	mine := volume.Spec{ID: volume.ID{Node: node, Pool: "slow", Name: "a"}, Size: volume.Range{RequiredBytes: 8 * volume.MiB}}
	if _, err := other.Create(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	listed, err := p.List(t.Context(), "", 0)
	if err != nil || len(listed) != 0 {
		t.Errorf("the pool beside it lists %v, %v", listed, err)
	}
	if s, err := p.Status(t.Context()); err != nil || s.TotalBytes < s.FreeBytes || s.FreeBytes%volume.MiB != 0 {
		t.Errorf("Status answered %+v, %v", s, err)
	}
}

// What a crash left is gone, or finished, when the pool is open again.
func TestWhatACrashLeftHalfMade(t *testing.T) {
	volumeGroup(t, 1)
	c := lvm.Config{VolumeGroup: vg}
	for name, tags := range map[string][]string{
		"loam.fast.v.half":  {"loam.storage/volume=n1/fast/half", "loam.storage/making"},
		"loam.fast.w.a":     {"loam.storage/spare=n1/fast/a", "loam.storage/making"},
		"loam.fast.v.other": {"loam.storage/volume=n2/fast/other", "loam.storage/making"},
	} {
		args := []string{"lvcreate", "--yes", "--activate", "n", "--zero", "n", "--wipesignatures", "n", "--size", "8m", "--name", name, vg}
		for _, tag := range tags {
			args = append(args, "--addtag", tag)
		}
		runLVM(t, args...)
	}
	p := open(t, c, host.NewRunner())
	t.Cleanup(func() { empty(t, p) })
	if left := runLVM(t, "lvs", "--noheadings", "-o", "lv_name", vg); left != "loam.fast.v.other" {
		t.Errorf("left are %q", left)
	}
	// Killed after it was activated and before it was wiped.
	if _, err := p.Create(t.Context(), spec("a", 8*volume.MiB)); err != nil {
		t.Fatal(err)
	}
	runLVM(t, "lvchange", "--activate", "y", "--ignoreactivationskip", vg+"/loam.fast.v.a")
	run(t, "sh", "-c", "yes secret | dd of=/dev/"+vg+"/loam.fast.v.a bs=1M count=8 iflag=fullblock oflag=direct 2>/dev/null")
	if v, err := p.Get(t.Context(), id("a")); err != nil || v.Attached() {
		t.Errorf("a volume that is not wiped yet: %+v, %v", v, err)
	}
	device, err := p.Attach(t.Context(), id("a"), false)
	if err != nil {
		t.Fatal(err)
	}
	if bytes := run(t, "sh", "-c", "tr -d '\\0' <"+device+" | wc -c"); bytes != "0" {
		t.Errorf("%s bytes of an earlier user can be read", bytes)
	}
}

func TestOpenSaysWhatIsWrongWithTheGroup(t *testing.T) {
	volumeGroup(t, 1)
	runLVM(t, "lvcreate", "--yes", "--type", "thin-pool", "--size", "16m", "--zero", "n", "--name", "dirty", vg)
	for what, c := range map[string]struct {
		config lvm.Config
		kind   volume.Kind
	}{
		"no such group":       {lvm.Config{VolumeGroup: "nosuch"}, volume.Unavailable},
		"no such thin pool":   {lvm.Config{VolumeGroup: vg, ThinPool: "nosuch"}, volume.Unavailable},
		"a pool without zero": {lvm.Config{VolumeGroup: vg, ThinPool: "dirty"}, volume.Invalid},
		"too few disks":       {lvm.Config{VolumeGroup: vg, Type: lvm.RAID1}, volume.Invalid},
	} {
		if _, err := lvm.Open(t.Context(), poolName, node, c.config, host.New(host.NewRunner()), host.NewRunner()); !volume.Is(err, c.kind) {
			t.Errorf("%s: %v", what, err)
		}
	}
	p := open(t, lvm.Config{VolumeGroup: vg}, host.NewRunner())
	if _, err := lvm.Open(t.Context(), poolName, node, lvm.Config{VolumeGroup: vg}, host.New(host.NewRunner()), host.NewRunner()); !volume.Is(err, volume.Unavailable) {
		t.Errorf("opened twice: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// What an administrator does to the group of an open pool is said by name, and changes nothing; when it is undone, the
// pool goes on.
func TestAGroupThatIsTakenAway(t *testing.T) {
	volumeGroup(t, 1)
	disk := testDisks(t, 1)[0]
	p := open(t, lvm.Config{VolumeGroup: vg}, host.NewRunner())
	t.Cleanup(func() { empty(t, p) })
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	for what, c := range map[string]struct {
		away, back func()
		gets       bool // as before: it does not ask LVM
		creates    volume.Kind
	}{
		"renamed": {
			func() { runLVM(t, "vgrename", vg, "other") },
			func() { runLVM(t, "vgrename", "other", vg) }, false, volume.Unavailable,
		},
		"exported": {
			func() { runLVM(t, "vgexport", vg) },
			func() { runLVM(t, "vgimport", vg) }, true, volume.Unavailable,
		},
		"on a disk that is read-only": {
			func() { run(t, "blockdev", "--setro", disk) },
			func() { run(t, "blockdev", "--setrw", disk) }, true, volume.Internal,
		},
	} {
		c.away()
		if _, err := p.Get(t.Context(), id("a")); c.gets != (err == nil) || (err != nil && !volume.Is(err, volume.Unavailable)) {
			t.Errorf("%s: Get answered %v", what, err)
		}
		_, err := p.Create(t.Context(), spec("b", 8*volume.MiB))
		if !volume.Is(err, c.creates) || !strings.Contains(err.Error(), vg) {
			t.Errorf("%s: Create answered %v", what, err)
		} else {
			t.Logf("%s: %v", what, err)
		}
		c.back()
		if listed, err := p.List(t.Context(), "", 0); err != nil || len(listed) != 1 {
			t.Errorf("%s and back: List answered %v, %v", what, listed, err)
		}
	}
}
