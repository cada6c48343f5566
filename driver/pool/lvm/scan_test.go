package lvm_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

// forge writes a disk of a volume group of our name onto a device, as its user can.
func forge(t *testing.T, device string) {
	t.Helper()
	run(t, "lvm", "vgcreate", "--config", settings+" devices/scan_lvs=1", "--yes", "--devices", device, vg, device)
}

// forgedDisk is what forge writes, in a file. It is made before the group, for LVM makes none whose name is in /dev.
func forgedDisk(t *testing.T) string {
	t.Helper()
	file := blankFile(t, 32*volume.MiB)
	device := run(t, "losetup", "--find", "--show", file)
	defer run(t, "losetup", "--detach", device)
	forge(t, device)
	return file
}

// above makes a device-mapper device that is all of another.
func above(t *testing.T, name, device string) string {
	t.Helper()
	run(t, "dmsetup", "create", name, "--table", "0 "+run(t, "blockdev", "--getsz", device)+" linear "+device+" 0")
	t.Cleanup(func() { run(t, "dmsetup", "remove", "--retry", name) })
	return "/dev/mapper/" + name
}

// opens opens the pool, and looks at and changes it.
func opens(t *testing.T, c lvm.Config) {
	t.Helper()
	p, err := lvm.Open(t.Context(), "other", node, c, host.New(host.NewRunner()), host.NewRunner())
	if err != nil {
		t.Errorf("Open: %v", err)
		return
	}
	defer p.Close()
	inspected, err := lvm.Inspect(t.Context(), "other", node, c, host.New(host.NewRunner()), host.NewRunner())
	if err != nil {
		t.Errorf("Inspect: %v", err)
		return
	}
	other := volume.ID{Node: node, Pool: "other", Name: "o"}
	if s := status(t, inspected); !s.Healthy || s.TotalBytes == 0 {
		t.Errorf("Status answered %+v", s)
	}
	must(t, second(p.Create(t.Context(), volume.Spec{ID: other, Size: volume.Range{RequiredBytes: 8 * volume.MiB}})))
	must(t, second(p.Attach(t.Context(), other, false)))
	must(t, p.Detach(t.Context(), other))
	must(t, p.Delete(t.Context(), other))
}

// scanningLVs has LVM look for groups on logical volumes, too, as lvm.conf can say.
func scanningLVs(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "lvm.conf"), []byte("devices {\n\tscan_lvs = 1\n}\n"), 0o600))
	t.Setenv("LVM_SYSTEM_DIR", dir)
}

func attachLoop(t *testing.T, file string, flags ...string) string {
	t.Helper()
	device := run(t, "losetup", append([]string{"--find", "--show"}, append(flags, file)...)...)
	t.Cleanup(func() { run(t, "losetup", "--detach", device) })
	return device
}

func blankFile(t *testing.T, size volume.Size) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	must(t, os.WriteFile(path, nil, 0o600))
	must(t, os.Truncate(path, int64(size)))
	return path
}

// loopVolume makes an attached volume of a loop pool.
func loopVolume(t *testing.T, size volume.Size) (pool.Pool, string) {
	t.Helper()
	p, err := loop.Open(t.Context(), "tenants", node, loop.Config{Directory: t.TempDir(), Sparse: true, Create: true}, host.New(host.NewRunner()))
	must(t, err)
	id := volume.ID{Node: node, Pool: "tenants", Name: "raw"}
	must(t, second(p.Create(t.Context(), volume.Spec{ID: id, Size: volume.Range{RequiredBytes: size}})))
	device, err := p.Attach(t.Context(), id, false)
	must(t, err)
	t.Cleanup(func() {
		if err := p.Detach(context.Background(), id); err != nil {
			t.Error(err)
		}
		_ = p.Close()
	})
	return p, device
}

// What a tenant writes into a raw volume of any pool is no disk of our group, nor is what lies on the volume.
func TestATenantsDiskIsNoneOfOurGroup(t *testing.T) {
	volumeGroup(t, 1)
	c := lvm.Config{VolumeGroup: vg}
	t.Run("loop", func(t *testing.T) {
		_, device := loopVolume(t, 64*volume.MiB)
		forge(t, device)
		opens(t, c)
	})
	t.Run("above a loop volume", func(t *testing.T) {
		_, device := loopVolume(t, 64*volume.MiB)
		forge(t, above(t, "loamtenant", device))
		opens(t, c)
	})
	t.Run("a loop device of the volume's", func(t *testing.T) {
		_, device := loopVolume(t, 64*volume.MiB)
		forge(t, attachLoop(t, device, "--offset", "1048576"))
		opens(t, c)
	})
	t.Run("file in a volume", func(t *testing.T) {
		_, device := loopVolume(t, 128*volume.MiB)
		dir := t.TempDir()
		run(t, "mkfs.ext4", "-q", device)
		run(t, "mount", device, dir)
		t.Cleanup(func() { run(t, "umount", dir) })
		file := filepath.Join(dir, "disk")
		must(t, os.WriteFile(file, nil, 0o600))
		must(t, os.Truncate(file, int64(64*volume.MiB)))
		forge(t, attachLoop(t, file))
		opens(t, c)
	})
	t.Run("by hand", func(t *testing.T) { // docs/on-disk.md, "By hand, if loam is gone"
		dir := filepath.Join(t.TempDir(), "volumes", "a")
		must(t, os.MkdirAll(dir, 0o700))
		must(t, os.WriteFile(filepath.Join(dir, "volume.json"), []byte("{}"), 0o600))
		must(t, os.WriteFile(filepath.Join(dir, "image"), nil, 0o600))
		must(t, os.Truncate(filepath.Join(dir, "image"), int64(64*volume.MiB)))
		forge(t, attachLoop(t, filepath.Join(dir, "image")))
		opens(t, c)
	})
}

// The same of volumes in the group itself, and in a thin pool, also where LVM looks for groups on logical volumes.
func TestALogicalVolumeIsNoDiskOfItsGroup(t *testing.T) {
	for _, k := range kinds()[:2] {
		t.Run(k.name, func(t *testing.T) {
			forged := forgedDisk(t)
			k.prepare(t)
			p := open(t, k.config, host.NewRunner()).(pool.Snapshotter)
			t.Cleanup(func() { empty(t, p) })
			scanningLVs(t)
			must(t, second(p.Create(t.Context(), spec("a", 32*volume.MiB))))
			device := attach(t, p, "a")
			run(t, "dd", "if="+forged, "of="+device, "bs=1M", "oflag=direct")
			opens(t, lvm.Config{VolumeGroup: vg})
			must(t, second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}})))
			restored := spec("b", 0)
			restored.Source = &volume.Source{Kind: volume.FromSnapshot, ID: id("s")}
			must(t, second(p.Create(t.Context(), restored)))
			attach(t, p, "b")
			opens(t, lvm.Config{VolumeGroup: vg})
			must(t, p.Detach(t.Context(), id("b")))
			must(t, p.DeleteSnapshot(t.Context(), id("s")))
			t.Run("renamed, and above", func(t *testing.T) {
				run(t, "dmsetup", "info", above(t, "loamtenant", device))
				runLVM(t, "lvrename", "--devices", testDisks(t, 1)[0]+","+testDisks(t, 2)[1], vg, "loam.fast.v.a", "theirs")
				t.Cleanup(func() {
					runLVM(t, "lvrename", "--devices", testDisks(t, 1)[0]+","+testDisks(t, 2)[1], vg, "theirs", "loam.fast.v.a")
				})
				opens(t, lvm.Config{VolumeGroup: vg})
			})
			run(t, "dd", "if=/dev/zero", "of="+device, "bs=64k", "count=1", "oflag=direct")
			must(t, p.Detach(t.Context(), id("a")))
		})
	}
}

// What somebody else's device says is named, and the configuration can say which disks are meant.
func TestTwoGroupsOfOneName(t *testing.T) {
	volumeGroup(t, 1)
	disk := testDisks(t, 1)[0]
	t.Run("another group", func(t *testing.T) {
		p := open(t, lvm.Config{VolumeGroup: vg}, host.NewRunner())
		defer func() { must(t, p.Close()) }()
		foreign := attachLoop(t, blankFile(t, 64*volume.MiB))
		forge(t, foreign)
		_, err := lvm.Open(t.Context(), "other", node, lvm.Config{VolumeGroup: vg}, host.New(host.NewRunner()), host.NewRunner())
		if !volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), foreign) || !strings.Contains(err.Error(), disk) {
			t.Errorf("Open: %v", err)
		}
		t.Log(err)
		opens(t, lvm.Config{VolumeGroup: vg, Devices: []string{disk}})
		// The pool that was open before goes on in the group that it was opened in, and finds disks that come to that.
		added := testDisks(t, 2)[1]
		runLVM(t, "vgextend", "--yes", "--devices", disk+","+added, vg, added)
		must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
		if s := status(t, p); !s.Healthy {
			t.Errorf("Status answered %+v", s)
		}
		must(t, p.Delete(t.Context(), id("a")))
		runLVM(t, "vgreduce", "--devices", disk+","+added, vg, added)
		runLVM(t, "pvremove", "--devices", added, added)
		must(t, second(p.Status(t.Context())))
	})
	t.Run("a copy of a disk", func(t *testing.T) {
		file := blankFile(t, 64*volume.MiB)
		run(t, "dd", "if="+disk, "of="+file, "bs=1M", "count=8", "conv=notrunc")
		foreign := attachLoop(t, file)
		_, err := lvm.Open(t.Context(), "other", node, lvm.Config{VolumeGroup: vg}, host.New(host.NewRunner()), host.NewRunner())
		if !volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), foreign) || !strings.Contains(err.Error(), disk) {
			t.Errorf("Open: %v", err)
		}
		t.Log(err)
		opens(t, lvm.Config{VolumeGroup: vg, Devices: []string{disk}})
		runLVM(t, "lvcreate", "--devices", disk, "--yes", "--size", "4m", "--name", "used", vg)
		opens(t, lvm.Config{VolumeGroup: vg}) // which of them is used, tells
		runLVM(t, "lvremove", "--devices", disk, "--yes", vg+"/used")
	})
}

// A path that was a disk of the group may be a tenant's when it is used next.
func TestThePathOfADiskBecomesATenants(t *testing.T) {
	testDisks(t, 1)
	disk := blankFile(t, 128*volume.MiB)
	first := run(t, "losetup", "--find", "--show", disk)
	runLVM(t, "vgcreate", "--yes", "--physicalextentsize", "1m", vg, first)
	p := open(t, lvm.Config{VolumeGroup: vg}, host.NewRunner())
	defer p.Close()
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	run(t, "losetup", "--detach", first)
	_, device := loopVolume(t, 64*volume.MiB) // the kernel gives out the first that is free
	if device != first {
		t.Fatalf("the volume has %s, and the disk had %s", device, first)
	}
	forge(t, device)
	now := attachLoop(t, disk)
	t.Cleanup(func() { runLVM(t, "vgremove", "--force", "--devices", now, vg) })
	if listed, err := p.List(t.Context(), "", 0); err != nil || len(listed) != 1 {
		t.Errorf("List answered %v, %v", listed, err)
	}
	must(t, second(p.Create(t.Context(), spec("b", 8*volume.MiB))))
	if out := run(t, "lvm", "lvs", "--devices", now, "--noheadings", "-o", "lv_name", vg); !strings.Contains(out, "loam.fast.v.b") {
		t.Errorf("on the disk are %q", out)
	}
}

// A group may be on any device that is not loam's.
func TestGroupsOnAllKindsOfDevices(t *testing.T) {
	disks := testDisks(t, 2)[:2]
	for what, device := range map[string]func(t *testing.T) string{
		"loop": func(t *testing.T) string { return attachLoop(t, blankFile(t, 64*volume.MiB)) },
		"loop of a name like ours": func(t *testing.T) string {
			dir := filepath.Join(t.TempDir(), "volumes", "a")
			must(t, os.MkdirAll(dir, 0o700))
			must(t, os.WriteFile(filepath.Join(dir, "image"), nil, 0o600))
			must(t, os.Truncate(filepath.Join(dir, "image"), int64(64*volume.MiB)))
			return attachLoop(t, filepath.Join(dir, "image"))
		},
		"device-mapper": func(t *testing.T) string { return above(t, "loamdisk", disks[0]) },
		"LUKS": func(t *testing.T) string { // what cryptsetup would set up
			name := "loamcrypt"
			run(t, "dmsetup", "create", name, "--table", "0 524288 crypt aes-xts-plain64 "+strings.Repeat("0f", 32)+" 0 "+disks[0]+" 4096")
			t.Cleanup(func() { run(t, "dmsetup", "remove", "--retry", name) })
			return "/dev/mapper/" + name
		},
		"partition": func(t *testing.T) string {
			run(t, "sh", "-c", `printf 'n\np\n1\n\n+100M\nw\n' | busybox fdisk $0 >/dev/null`, disks[0])
			run(t, "blockdev", "--rereadpt", disks[0])
			t.Cleanup(func() {
				run(t, "wipefs", "--all", "--force", disks[0])
				run(t, "blockdev", "--rereadpt", disks[0])
			})
			return disks[0] + "1"
		},
		"md": func(t *testing.T) string { return mdOf(t, disks) },
	} {
		t.Run(what, func(t *testing.T) {
			path := device(t)
			runLVM(t, "vgcreate", "--yes", "--physicalextentsize", "1m", vg, path)
			t.Cleanup(func() {
				runLVM(t, "vgremove", "--force", vg)
				runLVM(t, "pvremove", "--yes", path)
			})
			opens(t, lvm.Config{VolumeGroup: vg})
			opens(t, lvm.Config{VolumeGroup: vg, Devices: []string{path}})
		})
	}
}

// mdOf makes a RAID 1 that keeps nothing of itself on its disks (Documentation/admin-guide/md.rst).
func mdOf(t *testing.T, disks []string) string {
	t.Helper()
	for _, module := range []string{"md-mod", "raid1"} {
		run(t, "modprobe", module)
	}
	set := func(file, text string) {
		t.Helper()
		must(t, os.WriteFile(file, []byte(text), 0o200))
	}
	set("/sys/module/md_mod/parameters/new_array", "md100")
	t.Cleanup(func() { set("/sys/block/md100/md/array_state", "clear") })
	for _, s := range [][2]string{{"metadata_version", "none"}, {"level", "raid1"}, {"raid_disks", strconv.Itoa(len(disks))}} {
		set("/sys/block/md100/md/"+s[0], s[1])
	}
	for i, d := range disks {
		set("/sys/block/md100/md/new_dev", run(t, "cat", "/sys/block/"+filepath.Base(d)+"/dev"))
		set(fmt.Sprintf("/sys/block/md100/md/dev-%s/size", filepath.Base(d)), "131072")
		set(fmt.Sprintf("/sys/block/md100/md/dev-%s/slot", filepath.Base(d)), strconv.Itoa(i))
	}
	set("/sys/block/md100/md/component_size", "131072")
	set("/sys/block/md100/md/array_state", "active")
	return "/dev/md100"
}

// A device of a loam pool is no disk to make a group of, whatever the configuration says.
func TestADeviceOfAVolumeIsNoDisk(t *testing.T) {
	testDisks(t, 1)
	_, device := loopVolume(t, 64*volume.MiB)
	for _, create := range []bool{true, false} {
		_, err := lvm.Open(t.Context(), "other", node, lvm.Config{VolumeGroup: vg, Devices: []string{device}, Create: create}, host.New(host.NewRunner()), host.NewRunner())
		if err == nil || !strings.Contains(err.Error(), device) || !strings.Contains(err.Error(), "loam pool") {
			t.Errorf("create %t: %v", create, err)
		}
	}
}
