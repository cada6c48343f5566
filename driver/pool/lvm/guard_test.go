package lvm_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

// missingDisks is what LVM has written down as missing, which does not end when the disk is back.
func missingDisks(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(runLVM(t, "vgs", "--noheadings", "-o", "vg_missing_pv_count", vg))
}

// While a disk is missing nothing is changed, not even what LVM would change: it would write down that the disk is missing,
// and a disk that was away for a minute could not be used any more.
func TestADiskThatIsAwayForAWhile(t *testing.T) {
	disks := testDisks(t, 2)
	wipedAfter(t, disks[:2]...)
	legs := []string{leg(t, "loamleg0", disks[0]), leg(t, "loamleg1", disks[1])}
	runLVM(t, append([]string{"vgcreate", "--yes", "--physicalextentsize", "1m", vg}, legs...)...)
	for _, thin := range []bool{false, true} {
		config := lvm.Config{VolumeGroup: vg}
		if thin {
			config.ThinPool = "tp"
			untag(t) // of the thick pool
			runLVM(t, "lvcreate", "--yes", "--type", "thin-pool", "--size", "32m", "--name", "tp", vg, legs[0])
		}
		p := open(t, config, host.NewRunner()).(pool.Snapshotter)
		must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
		must(t, second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}})))
		become := func(table string) {
			t.Helper()
			run(t, "dmsetup", "suspend", "--noflush", "--nolockfs", "loamleg1")
			run(t, "dmsetup", "load", "loamleg1", "--table", "0 "+legSectors+" "+table)
			run(t, "dmsetup", "resume", "loamleg1")
		}
		become("error")
		for what, err := range map[string]error{
			"Mark":           p.Mark(t.Context(), id("a"), volume.Formatting),
			"DeleteSnapshot": p.DeleteSnapshot(t.Context(), id("s")),
			"Delete":         p.Delete(t.Context(), id("a")),
			"Create":         second(p.Create(t.Context(), spec("b", 8*volume.MiB))),
			"Expand":         second(p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 16 * volume.MiB})),
		} {
			full := thin && volume.Is(err, volume.Full) // it has room nowhere
			if !volume.Is(err, volume.Unavailable) && !volume.Is(err, volume.InUse) && !full {
				t.Errorf("thin %t: %s without a disk: %v", thin, what, err)
			}
		}
		must(t, p.Close())
		p = open(t, config, host.NewRunner()).(pool.Snapshotter)
		become("linear " + disks[1] + " 2048")
		if got := missingDisks(t); got != "0" {
			t.Errorf("thin %t: when all disks are back, %s are missing", thin, got)
		}
		must(t, p.DeleteSnapshot(t.Context(), id("s")))
		must(t, p.Delete(t.Context(), id("a")))
		must(t, p.Close())
	}
	runLVM(t, "vgremove", "--yes", "--force", vg)
}

// A disk that was added is there for the next command, whichever that is.
func TestADiskThatWasAddedIsNotMissing(t *testing.T) {
	volumeGroup(t, 1)
	added := testDisks(t, 2)[1]
	runLVM(t, "lvcreate", "--yes", "--type", "thin-pool", "--size", "32m", "--name", "tp", vg)
	p := open(t, lvm.Config{VolumeGroup: vg, ThinPool: "tp"}, host.NewRunner()).(pool.Snapshotter)
	t.Cleanup(func() {
		must(t, p.Close())
		runLVM(t, "lvremove", "--yes", vg+"/tp")
		runLVM(t, "vgreduce", vg, added)
		runLVM(t, "pvremove", "--yes", added)
	})
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	must(t, second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}})))
	runLVM(t, "vgextend", "--yes", vg, added)
	must(t, p.DeleteSnapshot(t.Context(), id("s")))
	must(t, p.Delete(t.Context(), id("a")))
	if got := missingDisks(t); got != "0" {
		t.Errorf("%s disks are missing", got)
	}
}

// How full a thin pool is, is known only while it is active.
func TestAThinPoolThatIsNotActive(t *testing.T) {
	smallGroup(t, 1, "200m")
	runLVM(t, "lvcreate", "--yes", "--type", "thin-pool", "--size", "64m", "--chunksize", "64k", "--poolmetadatasize", "4m", "--name", "tp", vg)
	config := lvm.Config{VolumeGroup: vg, ThinPool: "tp", Space: config.Space{Overprovision: 4}}
	p := open(t, config, host.NewRunner())
	t.Cleanup(func() { empty(t, p) })
	must(t, second(p.Create(t.Context(), spec("a", 128*volume.MiB))))
	device := attach(t, p, "a")
	run(t, "sh", "-c", "yes loam | dd of="+device+" bs=1M iflag=fullblock oflag=direct conv=notrunc count=60 2>/dev/null")
	must(t, p.Detach(t.Context(), id("a")))
	runLVM(t, "lvchange", "--activate", "n", vg+"/tp")
	inspected, err := lvm.Inspect(t.Context(), poolName, node, config, host.New(host.NewRunner()), host.NewRunner())
	must(t, err)
	if s := status(t, inspected); s.Healthy || s.FreeBytes != 0 || !strings.Contains(s.Message, "not active") {
		t.Errorf("who only looks: Status answered %+v", s)
	}
	if err := second(p.Create(t.Context(), spec("b", 8*volume.MiB))); !volume.Is(err, volume.Full) {
		t.Errorf("Create in a pool that is nearly full: %v", err)
	}
	runLVM(t, "lvchange", "--zero", "n", vg+"/tp")
	if err := second(p.Create(t.Context(), spec("b", 8*volume.MiB))); !volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), "zero") {
		t.Errorf("Create in a pool that zeroes no more: %v", err)
	}
	runLVM(t, "lvchange", "--zero", "y", vg+"/tp")
	runLVM(t, "lvchange", "--activate", "n", vg+"/tp")
	if s := status(t, p); s.Healthy || s.FreeBytes != 0 || !strings.Contains(s.Message, "data taken") {
		t.Errorf("Status answered %+v", s)
	}
}

// A killed lvm leaves suspended what it was at work on, with all that it lies on.
func TestWhatWasLeftSuspended(t *testing.T) {
	k := kinds()[3]
	k.prepare(t)
	p := open(t, k.config, host.NewRunner()).(pool.Snapshotter)
	t.Cleanup(func() { empty(t, p) })
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	device := attach(t, p, "a")
	must(t, second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}})))
	suspend := func() {
		t.Helper()
		const name = vg + "-loam.fast."
		for _, one := range []string{"v.a", "s.s", "v.a-real", "s.s-cow", "v.a_rimage_0", "v.a_rimage_1", "v.a_rmeta_0"} {
			run(t, "dmsetup", "suspend", "--noflush", "--nolockfs", name+one)
		}
	}
	goesOn := func(after string) {
		t.Helper()
		if left := run(t, "sh", "-c", "cat /sys/block/dm-*/dm/suspended"); strings.Contains(left, "1") {
			t.Fatalf("after %s devices are suspended:\n%s", after, run(t, "dmsetup", "info", "--columns"))
		}
		run(t, "dd", "if=/dev/zero", "of="+device, "bs=4096", "count=1", "oflag=direct", "conv=notrunc")
	}
	suspend()
	if err := second(p.Create(t.Context(), spec("b", volume.TiB))); !volume.Is(err, volume.Full) {
		t.Errorf("Create of more than there is: %v", err)
	}
	goesOn("a command that failed")
	must(t, p.Close())
	suspend()
	p = open(t, k.config, host.NewRunner()).(pool.Snapshotter)
	goesOn("Open")
	must(t, p.DeleteSnapshot(t.Context(), id("s")))
	must(t, p.Detach(t.Context(), id("a")))
}

// A killed lvm leaves the devices of parts, and would not activate the volume again.
func TestPartsThatWereLeftActive(t *testing.T) {
	k := kinds()[3]
	k.prepare(t)
	p := open(t, k.config, host.NewRunner()).(pool.Snapshotter)
	t.Cleanup(func() { empty(t, p) })
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	attach(t, p, "a")
	must(t, p.Detach(t.Context(), id("a")))
	leave := func() {
		t.Helper()
		for _, part := range []string{"_rimage_0", "_rmeta_1"} {
			runLVM(t, "lvchange", "--yes", "--activate", "y", "--ignoreactivationskip", vg+"/loam.fast.v.a"+part)
		}
	}
	leave()
	must(t, p.Close())
	p = open(t, k.config, host.NewRunner()).(pool.Snapshotter)
	noDevices(t)
	leave()
	_ = second(p.Attach(t.Context(), id("a"), false)) // LVM refuses, and what it refuses for goes
	attach(t, p, "a")
	must(t, p.Detach(t.Context(), id("a")))
	noDevices(t)
	must(t, second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}})))
	attach(t, p, "a")
	run(t, "dmsetup", "remove", vg+"-loam.fast.v.a") // as if deactivating had come so far
	must(t, p.Close())
	p = open(t, k.config, host.NewRunner()).(pool.Snapshotter)
	noDevices(t)
	must(t, p.DeleteSnapshot(t.Context(), id("s")))
}

// Without wiping, a volume shows what was on the disk, but no file system of somebody else.
func TestAVolumeThatIsNotWiped(t *testing.T) {
	smallGroup(t, 1, "200m")
	dirty(t, 1)
	p := open(t, lvm.Config{VolumeGroup: vg, Wipe: lvm.WipeNone}, host.NewRunner())
	t.Cleanup(func() { empty(t, p) })
	machine := host.New(host.NewRunner())
	must(t, second(p.Create(t.Context(), spec("a", 64*volume.MiB))))
	device := attach(t, p, "a")
	content, err := os.ReadFile(device)
	must(t, err)
	if !bytes.Contains(content, []byte("secret!")) {
		t.Error("it was wiped")
	}
	if found, err := machine.Probe(t.Context(), device); err != nil || !found.Blank {
		t.Errorf("its ends: %+v, %v", found, err)
	}
	v, err := p.Get(t.Context(), id("a"))
	if err != nil || !v.Unwiped {
		t.Errorf("Get answered %+v, %v", v, err)
	}
	must(t, machine.Format(t.Context(), device, host.Format{Type: volume.Ext4, Unwiped: v.Unwiped}))
	run(t, "e2fsck", "-f", "-n", device)
	must(t, p.Detach(t.Context(), id("a")))
}

// What was cut off may have left a volume that is active to be copied from, and not wiped to its end.
func TestAttachAfterACopyThatWasCutOff(t *testing.T) {
	p := thick(t, kinds()[0], host.NewRunner())
	must(t, p.DeleteSnapshot(t.Context(), id("s")))
	runLVM(t, "lvchange", "--addtag", "loam.storage/copying", "--deltag", "loam.storage/ready", "--addtag", "loam.storage/wiped=4194304", vg+"/loam.fast.v.a")
	for _, readOnly := range []bool{false, true} {
		if device, err := p.Attach(t.Context(), id("a"), readOnly); err != nil || device == "" {
			t.Errorf("Attach answered %q, %v", device, err)
		}
		must(t, p.Detach(t.Context(), id("a")))
		runLVM(t, "lvchange", "--addtag", "loam.storage/copying", "--deltag", "loam.storage/ready", "--addtag", "loam.storage/wiped=4194304", vg+"/loam.fast.v.a")
	}
	holds(t, p, "a", "old")
}

// An administrator's snapshot of a thin volume goes with nobody.
func TestAForeignSnapshotOfAThinVolume(t *testing.T) {
	k := kinds()[1]
	k.prepare(t)
	p := open(t, k.config, host.NewRunner())
	t.Cleanup(func() { empty(t, p) })
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	runLVM(t, "lvcreate", "--yes", "--snapshot", "--activate", "n", "--setactivationskip", "y", "--size", "4m", "--name", "theirs", vg+"/loam.fast.v.a")
	if err := p.Delete(context.Background(), id("a")); !volume.Is(err, volume.InUse) || !strings.Contains(err.Error(), "theirs") {
		t.Errorf("Delete: %v", err)
	}
	runLVM(t, "lvremove", "--yes", vg+"/theirs")
	must(t, p.Delete(t.Context(), id("a")))
}

// The metadata of a group is of a size that was given when its disks were prepared, and each volume takes some of it.
func TestTheMetadataOfAGroupIsFull(t *testing.T) {
	disk := testDisks(t, 1)[0]
	wipedAfter(t, disk)
	runLVM(t, "vgcreate", "--yes", "--physicalextentsize", "1m", "--metadatasize", "64k", "--dataalignment", "64k", vg, disk)
	p := open(t, lvm.Config{VolumeGroup: vg}, host.NewRunner())
	t.Cleanup(func() { empty(t, p) })
	var err error
	made := 0
	for ; err == nil && made < 200; made++ {
		err = second(p.Create(t.Context(), spec(fmt.Sprintf("v%d", made), volume.MiB)))
	}
	if !volume.Is(err, volume.Full) || !strings.Contains(err.Error(), "metadata") {
		t.Errorf("after %d volumes: %v", made-1, err)
	}
	if s := status(t, p); s.Healthy || s.FreeBytes != 0 {
		t.Errorf("Status answered %+v", s)
	}
	must(t, p.Delete(t.Context(), id("v0")))
	must(t, p.Delete(t.Context(), id("v1")))
	must(t, p.Delete(t.Context(), id("v2")))
	must(t, second(p.Create(t.Context(), spec("v0", volume.MiB))))
}
