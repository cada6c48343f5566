package lvm_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

// largeBlocks makes a disk with logical blocks of 4096 bytes, and adds it to the group as an administrator can.
func largeBlocks(t *testing.T, size volume.Size) string {
	t.Helper()
	disk := attachLoop(t, blankFile(t, size), "--sector-size", "4096")
	run(t, "lvm", "vgextend", "--config", settings+" devices/allow_mixed_block_sizes=1", "--yes", vg, disk)
	t.Cleanup(func() {
		runLVM(t, "vgreduce", vg, disk)
		runLVM(t, "pvremove", "--yes", disk)
	})
	return disk
}

// mounts mounts a volume and takes it off again.
func mounts(t *testing.T, p pool.Pool, name string) {
	t.Helper()
	device := attach(t, p, name)
	dir := t.TempDir()
	run(t, "mount", device, dir)
	run(t, "umount", dir)
	must(t, p.Detach(t.Context(), id(name)))
}

func shows(t *testing.T, p pool.Pool, name string, bytes volume.Size) {
	t.Helper()
	v, err := p.Get(t.Context(), id(name))
	must(t, err)
	has, err := host.LogicalBlock(v.Device)
	must(t, err)
	if v.BlockBytes != bytes || has != bytes {
		t.Errorf("volume %s has logical blocks of %d bytes recorded, and its device %d: want %d", name, v.BlockBytes, has, bytes)
	}
}

// A file system that was made on small blocks stays one that can be mounted, whatever disks come to the group.
func TestADiskWithLargerBlocks(t *testing.T) {
	for fsType, size := range map[string]volume.Size{"ext4": 64 * volume.MiB, "xfs": 320 * volume.MiB} {
		t.Run(fsType, func(t *testing.T) {
			smallGroup(t, 1, fmt.Sprintf("%db", 2*size+16*volume.MiB))
			p := open(t, lvm.Config{VolumeGroup: vg}, host.NewRunner()).(pool.Snapshotter)
			must(t, second(p.Create(t.Context(), spec("a", size))))
			device := attach(t, p, "a")
			run(t, "mkfs."+fsType, "-q", device)
			must(t, p.Detach(t.Context(), id("a")))
			large := largeBlocks(t, 3*size)
			t.Cleanup(func() { empty(t, p) })
			s := status(t, p)
			if !strings.Contains(s.Message, large) || !strings.Contains(s.Message, "4096") || s.LargestBytes > 3*size || s.FreeBytes <= 3*size {
				t.Errorf("Status answered %+v", s)
			}
			refused := func(what string, err error) {
				t.Helper()
				if !volume.Is(err, volume.Full) || !strings.Contains(err.Error(), large) || !strings.Contains(err.Error(), "512") {
					t.Errorf("%s: %v", what, err)
				}
			}
			_, err := p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 3 * size})
			refused("Expand", err)
			t.Log(err)
			attach(t, p, "a")
			_, err = p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 3 * size})
			refused("Expand of an attached one", err)
			must(t, second(p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: size + 8*volume.MiB})))
			shows(t, p, "a", 512)
			must(t, p.Detach(t.Context(), id("a")))
			mounts(t, p, "a")
			clone := spec("b", 0)
			clone.Source = &volume.Source{Kind: volume.FromVolume, ID: id("a")}
			must(t, second(p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: size + 16*volume.MiB})))
			clone.Size.RequiredBytes = 2 * size
			refused("a clone", second(p.Create(t.Context(), clone)))
			// What is new and empty may lie there, and grow onto either.
			must(t, second(p.Create(t.Context(), spec("c", 2*size))))
			run(t, "mkfs."+fsType, "-q", attach(t, p, "c"))
			shows(t, p, "c", 4096)
			must(t, p.Detach(t.Context(), id("c")))
			must(t, second(p.Expand(t.Context(), id("c"), volume.Range{RequiredBytes: 3*size + size/4})))
			mounts(t, p, "c")
			must(t, p.Delete(t.Context(), id("c")))
			byHand(t, p, large)
			mounts(t, p, "a")
		})
	}
}

// byHand extends a volume onto a disk that it may not lie on, as an administrator can.
func byHand(t *testing.T, p pool.Pool, large string) {
	t.Helper()
	before, err := p.Get(t.Context(), id("a"))
	must(t, err)
	runLVM(t, "lvextend", "--extents", "+8", vg+"/loam.fast.v.a", large)
	if _, err := p.Attach(t.Context(), id("a"), false); !volume.Is(err, volume.InUse) || !strings.Contains(err.Error(), "pvmove") {
		t.Errorf("Attach: %v", err)
	} else {
		t.Log(err)
	}
	runLVM(t, "lvreduce", "--force", "--yes", "--size", fmt.Sprintf("%db", before.Size), vg+"/loam.fast.v.a")
}

// Copies go where their source could, and volumes of a release that did not record their blocks have those of their disks.
func TestCopiesAndOldVolumesOnDisksOfDifferentBlocks(t *testing.T) {
	const size = 32 * volume.MiB
	smallGroup(t, 1, "140m")
	p := open(t, lvm.Config{VolumeGroup: vg}, host.NewRunner()).(pool.Snapshotter)
	must(t, second(p.Create(t.Context(), spec("a", size))))
	record := runLVM(t, "lvs", "--noheadings", "-o", "lv_tags", vg+"/loam.fast.v.a")
	for _, tag := range strings.Split(record, ",") {
		if strings.Contains(tag, "record.0=") { // {"version":1,"created":"2026-01-01T00:00:00Z"}
			runLVM(t, "lvchange", "--deltag", tag, "--addtag", "loam.storage/record.0=eyJ2ZXJzaW9uIjoxLCJjcmVhdGVkIjoiMjAyNi0wMS0wMVQwMDowMDowMFoifQ", vg+"/loam.fast.v.a")
		}
	}
	run(t, "mkfs.ext4", "-q", attach(t, p, "a"))
	shows(t, p, "a", 512)
	must(t, p.Detach(t.Context(), id("a")))
	large := largeBlocks(t, 256*volume.MiB)
	t.Cleanup(func() { empty(t, p) })
	must(t, second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}})))
	if s, err := p.GetSnapshot(t.Context(), id("s")); err != nil || s.BlockBytes != 512 {
		t.Errorf("the snapshot has logical blocks of %d bytes, %v", s.BlockBytes, err)
	}
	for name, source := range map[string]volume.Source{"restored": {Kind: volume.FromSnapshot, ID: id("s")}, "clone": {Kind: volume.FromVolume, ID: id("a")}} {
		c := spec(name, 0)
		c.Source = &source
		must(t, second(p.Create(t.Context(), c)))
		if on := runLVM(t, "lvs", "--noheadings", "-o", "devices", vg+"/loam.fast.v."+name); strings.Contains(on, large) {
			t.Errorf("%s lies on %s", name, on)
		}
		attach(t, p, name)
		shows(t, p, name, 512)
		must(t, p.Detach(t.Context(), id(name)))
		mounts(t, p, name)
	}
	must(t, p.DeleteSnapshot(t.Context(), id("s")))
	if _, err := p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 200 * volume.MiB}); !volume.Is(err, volume.Full) {
		t.Errorf("Expand of a volume without a record: %v", err)
	}
	asked := spec("asked", size)
	asked.BlockBytes = 512
	asked.Size.RequiredBytes = 200 * volume.MiB
	if err := second(p.Create(t.Context(), asked)); !volume.Is(err, volume.Full) {
		t.Errorf("Create of one with small blocks: %v", err)
	}
}

// A volume on RAID has an image on each disk, and so the largest blocks from the beginning.
func TestRAIDOnDisksOfDifferentBlocks(t *testing.T) {
	smallGroup(t, 1, "140m")
	large := largeBlocks(t, 200*volume.MiB)
	p := open(t, lvm.Config{VolumeGroup: vg, Type: lvm.RAID1}, host.NewRunner())
	t.Cleanup(func() { empty(t, p) })
	must(t, second(p.Create(t.Context(), spec("a", 16*volume.MiB))))
	attach(t, p, "a")
	shows(t, p, "a", 4096)
	must(t, second(p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 32 * volume.MiB})))
	shows(t, p, "a", 4096)
	must(t, p.Detach(t.Context(), id("a")))
	if s := status(t, p); s.LargestBytes == 0 || !strings.Contains(s.Message, large) {
		t.Errorf("Status answered %+v", s)
	}
}

// A thin pool is extended only onto disks that leave its volumes as they are.
func TestAThinPoolDoesNotGrowOntoLargerBlocks(t *testing.T) {
	smallGroup(t, 1, "130m")
	runLVM(t, "lvcreate", "--yes", "--type", "thin-pool", "--size", "64m", "--chunksize", "64k", "--poolmetadatasize", "4m", "--name", "tp", vg)
	p := open(t, lvm.Config{VolumeGroup: vg, ThinPool: "tp", ExtendAt: 60, ExtendBy: 99, Space: config.Space{Overprovision: 8}}, host.NewRunner())
	must(t, second(p.Create(t.Context(), spec("a", 48*volume.MiB))))
	device := attach(t, p, "a")
	shows(t, p, "a", 512)
	large := largeBlocks(t, 256*volume.MiB)
	t.Cleanup(func() { runLVM(t, "lvremove", "--force", vg+"/tp") })
	t.Cleanup(func() { empty(t, p) })
	run(t, "sh", "-c", "yes loam | dd of="+device+" bs=1M iflag=fullblock oflag=direct conv=notrunc count=47 2>/dev/null")
	size := func() string {
		return strings.TrimSpace(runLVM(t, "lvs", "--noheadings", "--nosuffix", "--units", "m", "-o", "lv_size", vg+"/tp"))
	}
	for deadline := time.Now().Add(time.Minute); size() == "64.00"; time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			t.Fatal("the thin pool does not grow")
		}
	}
	if on := runLVM(t, "lvs", "--noheadings", "-a", "-o", "devices", vg+"/tp_tdata"); strings.Contains(on, filepath.Base(large)) {
		t.Errorf("the thin pool lies on %s", on)
	}
	shows(t, p, "a", 512)
	must(t, p.Detach(t.Context(), id("a")))
	runLVM(t, "lvextend", "--extents", "+8", vg+"/tp", large) // by hand
	if _, err := p.Attach(t.Context(), id("a"), false); !volume.Is(err, volume.InUse) || !strings.Contains(err.Error(), "tp_tdata") {
		t.Errorf("Attach: %v", err)
	}
	clone := spec("b", 0)
	clone.Source = &volume.Source{Kind: volume.FromVolume, ID: id("a")}
	if err := second(p.Create(t.Context(), clone)); !volume.Is(err, volume.InUse) {
		t.Errorf("Create of a clone: %v", err)
	}
	must(t, second(p.Create(t.Context(), spec("c", 8*volume.MiB))))
	attach(t, p, "c")
	shows(t, p, "c", 4096)
	must(t, p.Detach(t.Context(), id("c")))
	must(t, p.Delete(t.Context(), id("a")))
	must(t, p.Delete(t.Context(), id("c")))
}
