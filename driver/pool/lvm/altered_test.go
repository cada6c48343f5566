package lvm_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

// says wants an error of that kind, with all parts in its text.
func says(t *testing.T, what string, err error, kind volume.Kind, parts ...string) {
	t.Helper()
	if !volume.Is(err, kind) {
		t.Errorf("%s: %v, want %s", what, err, kind)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s does not say %q: %v", what, part, err)
		}
	}
	t.Logf("%s: %v", what, err)
}

// fresh makes the volume group of a kind and opens a pool in it.
func fresh(t *testing.T, k kind) pool.Snapshotter {
	t.Helper()
	k.prepare(t)
	p := open(t, k.config, host.NewRunner()).(pool.Snapshotter)
	t.Cleanup(func() { empty(t, p) })
	return p
}

// wait waits for a condition of the machine.
func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// beginMove has pvmove begin to move all that is on a disk, and go no further: with the LVM that asks how far it is, it ends.
func beginMove(t *testing.T, disk string) {
	t.Helper()
	move := exec.Command("lvm", "pvmove", "--config", settings, "--interval", "+3600", disk)
	move.Env = append(os.Environ(), "DM_DISABLE_UDEV=1")
	must(t, move.Start())
	wait(t, "the move begins", func() bool {
		return strings.Contains(run(t, "dmsetup", "ls"), "pvmove0") && strings.Contains(runLVM(t, "lvs", "--all", "--noheadings", "-o", "lv_name", vg), "pvmove0")
	})
	must(t, move.Process.Kill())
	_ = move.Wait() // killed
}

func endMove(t *testing.T) { runLVM(t, "pvmove", "--interval", "1") }

func clone(name, of string) volume.Spec {
	s := spec(name, 0)
	s.Source = &volume.Source{Kind: volume.FromVolume, ID: id(of)}
	return s
}

func snapshotOf(p pool.Pool, name, of string) error {
	return second(p.(pool.Snapshotter).CreateSnapshot(context.Background(), volume.SnapshotSpec{ID: id(name), Volumes: []volume.ID{id(of)}}))
}

// While a disk is emptied with pvmove, what LVM cannot do then waits for it by name, attaching and detaching goes on, and no
// detaching takes a device that another pod has. What LVM leaves active afterwards can be deleted.
func TestAVolumeThatIsMoved(t *testing.T) {
	k := kinds()[0]
	k.each = "300m"
	p := fresh(t, k)
	for _, name := range []string{"a", "b", "c", "d"} {
		must(t, second(p.Create(t.Context(), spec(name, 8*volume.MiB))))
		writeTo(t, p, name, strings.Repeat(name, 3))
	}
	must(t, snapshotOf(p, "s", "d"))
	disk := strings.Split(runLVM(t, "lvs", "--noheadings", "-o", "devices", vg+"/loam.fast.v.a"), "(")[0]
	devices := map[string]string{"b": attach(t, p, "b"), "c": attach(t, p, "c")}
	open, err := os.Open(devices["b"])
	must(t, err)
	defer open.Close()
	beginMove(t, strings.TrimSpace(disk))
	waits := func() {
		t.Helper()
		says(t, "Delete", p.Delete(t.Context(), id("a")), volume.Busy, "pvmove0", "loam.fast.v.a", "pvmove --abort")
		says(t, "Expand", second(p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 16 * volume.MiB})), volume.Busy, "pvmove0")
		says(t, "Expand of an attached one", second(p.Expand(t.Context(), id("b"), volume.Range{RequiredBytes: 16 * volume.MiB})), volume.Busy, "pvmove0")
		says(t, "CreateSnapshot", snapshotOf(p, "t", "a"), volume.Busy, "pvmove0")
		says(t, "Clone", second(p.Create(t.Context(), clone("e", "b"))), volume.Busy, "pvmove0")
		says(t, "DeleteSnapshot", p.DeleteSnapshot(t.Context(), id("s")), volume.Busy, "pvmove0")
	}
	waits()
	for _, name := range []string{"a", "d"} { // with a snapshot
		attach(t, p, name)
		must(t, p.Detach(t.Context(), id(name)))
		noDevice(t, "loam.fast.v."+name)
	}
	noDevice(t, "loam.fast.s.s")
	for name, device := range devices {
		if v, err := p.Get(t.Context(), id(name)); err != nil || v.Device != device {
			t.Errorf("%s was at %s, and Get answers %+v, %v", name, device, v, err)
		}
	}
	says(t, "Detach of one that is open", p.Detach(t.Context(), id("b")), volume.InUse)
	must(t, second(p.Create(t.Context(), spec("f", 8*volume.MiB))))
	must(t, p.Delete(t.Context(), id("f")))
	waits()
	if s := status(t, p); !s.Healthy || s.FreeBytes == 0 || !strings.Contains(s.Message, "pvmove0") {
		t.Errorf("Status answered %+v", s)
	}
	endMove(t)
	if all := run(t, "dmsetup", "ls"); !strings.Contains(all, "loam.fast.v.a") {
		t.Errorf("LVM did not leave it active, so this shows nothing: %s", all)
	}
	must(t, p.DeleteSnapshot(t.Context(), id("s")))
	must(t, p.Delete(t.Context(), id("a")))
	says(t, "Delete of one that is open", p.Delete(t.Context(), id("b")), volume.InUse)
	must(t, open.Close())
	must(t, p.Detach(t.Context(), id("b")))
	must(t, p.Detach(t.Context(), id("c")))
	for _, name := range []string{"b", "c", "d"} {
		must(t, p.Detach(t.Context(), id(name)))
		holds(t, p, name, strings.Repeat(name, 3))
		must(t, p.Delete(t.Context(), id(name)))
	}
	noDevices(t)
}

// Of a RAID volume, pvmove moves an image, and the volume itself does not look moved.
func TestARAIDVolumeThatIsMoved(t *testing.T) {
	p := fresh(t, kind{name: "raid1", config: lvm.Config{VolumeGroup: vg, Type: lvm.RAID1}, disks: 3, each: "300m"})
	for _, name := range []string{"a", "b", "c"} {
		must(t, second(p.Create(t.Context(), spec(name, 8*volume.MiB))))
		writeTo(t, p, name, "old")
	}
	device := attach(t, p, "b")
	disk := strings.Split(runLVM(t, "lvs", "--all", "--noheadings", "-o", "devices", vg+"/loam.fast.v.a_rimage_0"), "(")[0]
	beginMove(t, strings.TrimSpace(disk))
	says(t, "Delete", p.Delete(t.Context(), id("a")), volume.Busy, "pvmove0")
	holds(t, p, "a", "old")
	noDevice(t, "loam.fast.v.a")
	says(t, "Delete of one that was attached meanwhile", p.Delete(t.Context(), id("a")), volume.Busy, "pvmove0")
	if v, err := p.Get(t.Context(), id("b")); err != nil || v.Device != device {
		t.Errorf("it was at %s, and Get answers %+v, %v", device, v, err)
	}
	endMove(t)
	must(t, p.Detach(t.Context(), id("b")))
	holds(t, p, "a", "old") // LVM refuses to activate it while it has left a part of it active
	for _, name := range []string{"c", "a"} {
		must(t, p.Delete(t.Context(), id(name)))
	}
	must(t, p.Delete(t.Context(), id("b")))
	noDevices(t)
}

// A device that a command of LVM has left suspended is mended before it is handed out again: who opens it would wait for ever.
func TestADeviceThatWasLeftSuspended(t *testing.T) {
	p := fresh(t, kinds()[0])
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	device := attach(t, p, "a")
	run(t, "dmsetup", "suspend", vg+"-loam.fast.v.a")
	if again := attach(t, p, "a"); again != device {
		t.Errorf("it was at %s, and is at %s", device, again)
	}
	if state := run(t, "dmsetup", "info", "--columns", "--noheadings", "-o", "suspended", vg+"-loam.fast.v.a"); strings.Contains(state, "Suspended") {
		t.Error("it is suspended")
	}
	must(t, p.Detach(t.Context(), id("a")))
}

// While a thin pool is moved, nothing is made, changed or removed in it, for LVM leaves devices suspended. Its volumes come and go.
func TestAThinPoolThatIsMoved(t *testing.T) {
	k := kinds()[1]
	k.each = "600m"
	p := fresh(t, k)
	for _, name := range []string{"a", "b"} {
		must(t, second(p.Create(t.Context(), spec(name, 8*volume.MiB))))
		writeTo(t, p, name, "old")
	}
	must(t, snapshotOf(p, "s", "a"))
	device := attach(t, p, "b")
	disk := strings.Split(runLVM(t, "lvs", "--all", "--noheadings", "-o", "devices", vg+"/tp_tmeta"), "(")[0]
	beginMove(t, strings.TrimSpace(disk))
	for what, err := range map[string]error{
		"Create":         second(p.Create(t.Context(), spec("c", 8*volume.MiB))),
		"Clone":          second(p.Create(t.Context(), clone("c", "a"))),
		"CreateSnapshot": snapshotOf(p, "t", "a"),
		"DeleteSnapshot": p.DeleteSnapshot(t.Context(), id("s")),
		"Expand":         second(p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 16 * volume.MiB})),
		"Delete":         p.Delete(t.Context(), id("a")),
	} {
		says(t, what, err, volume.Busy, "pvmove0", vg+"/tp")
	}
	holds(t, p, "a", "old")
	noDevice(t, "loam.fast.v.a")
	if v, err := p.Get(t.Context(), id("b")); err != nil || v.Device != device {
		t.Errorf("it was at %s, and Get answers %+v, %v", device, v, err)
	}
	if suspended := run(t, "dmsetup", "info", "--columns", "--noheadings", "-o", "name,suspended"); strings.Contains(suspended, "Suspended") {
		t.Errorf("there are %s", suspended)
	}
	endMove(t)
	must(t, p.Detach(t.Context(), id("b")))
	must(t, p.DeleteSnapshot(t.Context(), id("s")))
	must(t, p.Delete(t.Context(), id("a")))
}

// A volume that an administrator has given a cache is used as any other.
func TestAVolumeWithACache(t *testing.T) {
	k := kinds()[0]
	k.each = "300m"
	for _, kind := range []string{"writecache", "cache"} {
		t.Run(kind, func(t *testing.T) {
			p := fresh(t, k)
			must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
			writeTo(t, p, "a", "old")
			runLVM(t, "lvcreate", "--yes", "--activate", "n", "--zero", "n", "--wipesignatures", "n", "--size", "12m", "--name", "fast", vg)
			runLVM(t, "lvconvert", "--yes", "--type", kind, "--cachevol", "fast", vg+"/loam.fast.v.a")
			writeTo(t, p, "a", "new")
			must(t, second(p.Create(t.Context(), clone("b", "a"))))
			holds(t, p, "b", "new")
			attach(t, p, "a")
			if err := second(p.Create(t.Context(), clone("c", "a"))); err == nil {
				holds(t, p, "c", "new")
			} else { // LVM checks the metadata of a cache that is in use, and finds fault with them (lvm2 2.03.16)
				says(t, "Clone of an attached one", err, volume.InUse, "cache", "lvconvert")
			}
			must(t, p.Detach(t.Context(), id("a")))
			holds(t, p, "a", "new")
			must(t, snapshotOf(p, "s", "a"))
			must(t, restore(p, "r"))
			holds(t, p, "r", "new")
			must(t, p.DeleteSnapshot(t.Context(), id("s")))
			must(t, p.Delete(t.Context(), id("a")))
			if left := names(t); strings.Contains(left, "loam.fast.v.a") {
				t.Errorf("there are %s", left)
			}
		})
	}
}

// A volume that an administrator has made read-only is not attached for writing, and the error says why, and what to do.
func TestAVolumeThatWasMadeReadOnly(t *testing.T) {
	p := fresh(t, kinds()[0])
	for _, name := range []string{"a", "new"} {
		must(t, second(p.Create(t.Context(), spec(name, 8*volume.MiB))))
	}
	writeTo(t, p, "a", "old")
	for _, name := range []string{"a", "new"} {
		command := "lvchange --permission rw " + vg + "/loam.fast.v." + name
		runLVM(t, "lvchange", "--permission", "r", vg+"/loam.fast.v."+name)
		says(t, "Attach of "+name, second(p.Attach(t.Context(), id(name), false)), volume.InUse, command)
	}
	says(t, "Attach of a new one, read-only", second(p.Attach(t.Context(), id("new"), true)), volume.InUse, "lvchange --permission rw")
	says(t, "CreateSnapshot of a new one", snapshotOf(p, "s", "new"), volume.InUse, "lvchange --permission rw")
	must(t, second(p.Attach(t.Context(), id("a"), true)))
	must(t, p.Detach(t.Context(), id("a")))
	runLVM(t, "lvchange", "--permission", "rw", vg+"/loam.fast.v.a")
	writeTo(t, p, "a", "new")
	must(t, p.Delete(t.Context(), id("new")))
}

// A merge of a snapshot that waits for its volume is named by what has to wait for it, and begins with the next attachment.
func TestAMergeThatWaits(t *testing.T) {
	for _, k := range kinds()[:2] {
		t.Run(k.name, func(t *testing.T) {
			k.each = "300m"
			p := fresh(t, k)
			thin := k.config.ThinPool != ""
			must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
			writeTo(t, p, "a", "old")
			size := []string{"--size", "16m"}
			if thin {
				size = nil
			}
			runLVM(t, append(append([]string{"lvcreate", "--snapshot", "--name", "before"}, size...), vg+"/loam.fast.v.a")...)
			f, err := os.Open(attach(t, p, "a"))
			must(t, err)
			runLVM(t, "lvconvert", "--merge", vg+"/before")
			must(t, f.Close())
			writeTo(t, p, "a", "new") // and detaches it
			if s := status(t, p); !s.Healthy {
				t.Errorf("Status answered %+v", s)
			}
			if !thin {
				for what, err := range map[string]error{
					"Delete":         p.Delete(t.Context(), id("a")),
					"Expand":         second(p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 16 * volume.MiB})),
					"CreateSnapshot": snapshotOf(p, "s", "a"),
				} {
					says(t, what, err, volume.InUse, "lvconvert --merge", "attached")
				}
			}
			attach(t, p, "a")
			wait(t, "the merge has ended", func() bool {
				return !strings.Contains(runLVM(t, "lvs", "--all", "--noheadings", "-o", "lv_name", vg), "before")
			})
			must(t, p.Detach(t.Context(), id("a")))
			holds(t, p, "a", "old")
			must(t, snapshotOf(p, "s", "a"))
			must(t, p.DeleteSnapshot(t.Context(), id("s")))
			must(t, p.Delete(t.Context(), id("a")))
		})
	}
}

// What LVM refuses to do with a volume that somebody has converted is said with what it has become.
func TestAVolumeThatWasConverted(t *testing.T) {
	raid := lvm.Config{VolumeGroup: vg, Type: lvm.RAID1}
	name := vg + "/loam.fast.v.a"
	for _, c := range []struct {
		name    string
		config  lvm.Config
		convert []string
		check   func(t *testing.T, p pool.Snapshotter)
	}{
		{"integrity", raid, []string{"lvconvert", "--yes", "--raidintegrity", "y", name}, func(t *testing.T, p pool.Snapshotter) {
			says(t, "CreateSnapshot", snapshotOf(p, "s", "a"), volume.InUse, "integrity", "lvconvert")
		}},
		{"split image", raid, []string{"lvconvert", "--yes", "--splitmirrors", "1", "--trackchanges", name}, func(t *testing.T, p pool.Snapshotter) {
			says(t, "Expand", second(p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 16 * volume.MiB})), volume.InUse, "lvconvert --merge "+vg+"/loam.fast.v.a_rimage_1")
		}},
		{"linear to RAID", lvm.Config{VolumeGroup: vg}, []string{"lvconvert", "--yes", "--type", "raid1", "--mirrors", "1", name}, func(t *testing.T, p pool.Snapshotter) {
			attach(t, p, "a")
			says(t, "Expand while attached", second(p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 16 * volume.MiB})), volume.InUse, "raid1", "not attached")
			must(t, p.Detach(t.Context(), id("a")))
			must(t, second(p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 16 * volume.MiB})))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := fresh(t, kind{name: c.name, config: c.config, disks: 2, each: "300m"})
			must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
			attach(t, p, "a")
			wait(t, "all images are written", func() bool {
				return c.config.Type == "" || strings.HasPrefix(runLVM(t, "lvs", "--noheadings", "-o", "copy_percent", name), "100")
			})
			runLVM(t, c.convert...)
			must(t, p.Detach(t.Context(), id("a")))
			c.check(t, p)
			must(t, p.Delete(t.Context(), id("a")))
		})
	}
}

// A volume that an administrator's thin volumes rest on is not deleted: LVM would remove those with it.
func TestAVolumeThatIsAnExternalOrigin(t *testing.T) {
	k := kinds()[0]
	k.each = "300m"
	p := fresh(t, k)
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	writeTo(t, p, "a", "old")
	runLVM(t, "lvcreate", "--yes", "--type", "thin-pool", "--size", "40m", "--name", "theirs", vg)
	runLVM(t, "lvchange", "--permission", "r", vg+"/loam.fast.v.a")
	runLVM(t, "lvcreate", "--yes", "--snapshot", "--activate", "n", "--thinpool", "theirs", "--name", "upper", vg+"/loam.fast.v.a")
	says(t, "Delete", p.Delete(t.Context(), id("a")), volume.InUse, "external origin", vg+"/upper")
	if now := names(t); !strings.Contains(now, "upper") || !strings.Contains(now, "loam.fast.v.a") {
		t.Errorf("there are %s", now)
	}
	runLVM(t, "lvremove", "--yes", vg+"/upper")
	must(t, p.Delete(t.Context(), id("a")))
}

// How many logical volumes a group may have, how large its disks really are, and how extents are chosen, are limits that are
// said by name, and no volume is made that cannot be used.
func TestLimitsOfAGroup(t *testing.T) {
	k := kinds()[0]
	k.each = "300m"
	p := fresh(t, k)
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	attach(t, p, "a")
	unhealthy := func(part string) {
		t.Helper()
		if s := status(t, p); s.Healthy || s.FreeBytes != 0 || s.LargestBytes != 0 || !strings.Contains(s.Message, part) {
			t.Errorf("Status answered %+v", s)
		}
	}
	larger := func(mib volume.Size) error {
		return second(p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: mib * volume.MiB}))
	}
	runLVM(t, "vgchange", "--logicalvolume", "1", vg)
	unhealthy("vgchange --logicalvolume 0 " + vg)
	says(t, "Create", second(p.Create(t.Context(), spec("b", 8*volume.MiB))), volume.Full, "may have 1")
	says(t, "CreateSnapshot", snapshotOf(p, "s", "a"), volume.Full, "may have 1")
	says(t, "Expand while attached", larger(16), volume.Full, "may have 1")
	must(t, p.Detach(t.Context(), id("a")))
	must(t, larger(16))
	runLVM(t, "vgchange", "--logicalvolume", "0", vg)
	runLVM(t, "vgchange", "--alloc", "contiguous", vg)
	must(t, second(p.Create(t.Context(), spec("b", 8*volume.MiB))))
	says(t, "Expand", larger(24), volume.Full, "contiguous", "vgchange --alloc normal")
	runLVM(t, "vgchange", "--alloc", "normal", vg)
	must(t, larger(24))
	if s := status(t, p); !s.Healthy || s.FreeBytes == 0 {
		t.Errorf("Status answered %+v", s)
	}
}

// LVM goes on with a disk that is smaller than it was, and gives out what is not there.
func TestADiskThatHasShrunk(t *testing.T) {
	testDisks(t, 0)
	file := blankFile(t, 300*volume.MiB)
	disk := attachLoop(t, file)
	wipedAfter(t, disk)
	runLVM(t, "vgcreate", "--yes", "--physicalextentsize", "1m", vg, disk)
	p := open(t, lvm.Config{VolumeGroup: vg, Devices: []string{disk}}, host.NewRunner()).(pool.Snapshotter)
	t.Cleanup(func() { _ = p.Close() })
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	writeTo(t, p, "a", "old")
	must(t, second(p.Create(t.Context(), spec("far", 200*volume.MiB))))
	resize := func(size string) {
		run(t, "truncate", "--size", size, file)
		run(t, "/usr/sbin/losetup", "--set-capacity", disk)
	}
	resize("150M")
	if s := status(t, p); s.Healthy || s.FreeBytes != 0 || s.LargestBytes != 0 || !strings.Contains(s.Message, disk) || !strings.Contains(s.Message, "150MiB") {
		t.Errorf("Status answered %+v", s)
	}
	says(t, "Create", second(p.Create(t.Context(), spec("b", 8*volume.MiB))), volume.Unavailable, disk, "150MiB", "300MiB")
	says(t, "Expand", second(p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 16 * volume.MiB})), volume.Unavailable, disk)
	says(t, "CreateSnapshot", snapshotOf(p, "s", "a"), volume.Unavailable, disk)
	says(t, "Attach of what is not there", second(p.Attach(t.Context(), id("far"), false)), volume.Unavailable, disk)
	holds(t, p, "a", "old")
	resize("300M")
	attach(t, p, "far")
	must(t, p.Detach(t.Context(), id("far")))
	if s := status(t, p); !s.Healthy {
		t.Errorf("Status answered %+v", s)
	}
	must(t, p.Delete(t.Context(), id("far")))
	must(t, p.Delete(t.Context(), id("a")))
}
