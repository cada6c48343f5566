package lvm_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// stopping waits before one command, until it is let go.
type stopping struct {
	host.Runner
	at      func(args string) bool
	reached chan struct{}
	goOn    chan struct{}
}

func stopAt(parts ...string) *stopping {
	return &stopping{Runner: host.NewRunner(), reached: make(chan struct{}, 1), goOn: make(chan struct{}), at: func(args string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(args, part) })
	}}
}

func (s *stopping) Run(ctx context.Context, c host.Command) ([]byte, error) {
	if s.at(strings.Join(c.Args, " ")) {
		s.reached <- struct{}{}
		<-s.goOn
	}
	return s.Runner.Run(ctx, c)
}

// thick opens a pool with one volume, which holds "old", and a snapshot of it.
func thick(t *testing.T, k kind, r host.Runner) pool.Snapshotter {
	t.Helper()
	k.prepare(t)
	p := open(t, k.config, r).(pool.Snapshotter)
	t.Cleanup(func() { empty(t, p) })
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	writeTo(t, p, "a", "old")
	must(t, second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}})))
	return p
}

func second[T any](_ T, err error) error { return err }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// noDevices says whether a device of the group is there.
func noDevices(t *testing.T) {
	t.Helper()
	if all := run(t, "dmsetup", "ls"); strings.Contains(all, vg+"-") {
		t.Errorf("devices are left: %s", all)
	}
}

func attach(t *testing.T, p pool.Pool, name string) string {
	t.Helper()
	device, err := p.Attach(t.Context(), id(name), false)
	must(t, err)
	return device
}

func writeTo(t *testing.T, p pool.Pool, name, text string) {
	t.Helper()
	run(t, "sh", "-c", "printf "+text+" | dd of="+attach(t, p, name)+" conv=notrunc,fsync 2>/dev/null")
	must(t, p.Detach(t.Context(), id(name)))
}

func holds(t *testing.T, p pool.Pool, name, text string) {
	t.Helper()
	if got := run(t, "head", "-c", "3", attach(t, p, name)); got != text {
		t.Errorf("%s holds %q, want %q", name, got, text)
	}
	must(t, p.Detach(t.Context(), id(name)))
}

func restore(p pool.Pool, name string) error {
	s := spec(name, 0)
	s.Source = &volume.Source{Kind: volume.FromSnapshot, ID: id("s")}
	return second(p.Create(context.Background(), s))
}

// The device of a volume that is copied from is not an attached one, and one that is attached stays so.
func TestAVolumeThatIsCopiedFrom(t *testing.T) {
	stop := stopAt("--activate n", `lv_name="loam.fast.v.r"`)
	p := thick(t, kinds()[0], stop)
	for _, attached := range []bool{false, true} {
		if attached {
			attach(t, p, "a")
		}
		result := make(chan error, 1)
		go func() { result <- restore(p, "r") }()
		<-stop.reached
		if v, err := p.Get(t.Context(), id("a")); err != nil || v.Attached() != attached {
			t.Errorf("while it is copied from: %+v, %v; want attached %t", v, err, attached)
		}
		attachErr, detachErr := second(p.Attach(t.Context(), id("a"), false)), p.Detach(t.Context(), id("a"))
		if !attached && (!volume.Is(attachErr, volume.Busy) || detachErr != nil) || attached && (attachErr != nil || !volume.Is(detachErr, volume.Busy)) {
			t.Errorf("attached %t: Attach %v, Detach %v", attached, attachErr, detachErr)
		}
		if _, err := p.Get(t.Context(), id("r")); !volume.Is(err, volume.NotFound) {
			t.Errorf("a half made copy is shown: %v", err)
		}
		stop.goOn <- struct{}{}
		must(t, <-result)
		if v, err := p.Get(t.Context(), id("a")); err != nil || v.Attached() != attached {
			t.Errorf("after the copy: %+v, %v; want attached %t", v, err, attached)
		}
		go func() { <-stop.reached; stop.goOn <- struct{}{} }()
		holds(t, p, "r", "old")
		must(t, p.Delete(t.Context(), id("r")))
	}
	must(t, p.Detach(t.Context(), id("a")))
	noDevices(t)
}

// What a crash left of a copy goes when the pool is opened, or when it is in the way.
func TestWhatACopyLeftBehind(t *testing.T) {
	k := kinds()[0]
	p := thick(t, k, host.NewRunner())
	leave := func() {
		t.Helper()
		runLVM(t, "lvchange", "--addtag", "loam.storage/copying", vg+"/loam.fast.v.a")
		runLVM(t, "lvchange", "--activate", "y", "--ignoreactivationskip", vg+"/loam.fast.v.a")
		runLVM(t, "lvcreate", "--yes", "--zero", "n", "--size", "8m", "--name", "loam.fast.v.r", "--addtag", "loam.storage/volume="+id("r").String(), "--addtag", "loam.storage/making", vg)
		runLVM(t, "lvcreate", "--yes", "--zero", "n", "--size", "8m", "--name", "loam.fast.s.t", "--addtag", "loam.storage/snapshot="+id("t").String(), vg)
	}
	leave()
	if s, err := p.ListSnapshots(t.Context(), "", 0); err != nil || len(s) != 1 {
		t.Errorf("ListSnapshots answered %v, %v", s, err)
	}
	must(t, p.Close())
	p = open(t, k.config, host.NewRunner()).(pool.Snapshotter)
	defer p.Close()
	noDevices(t)
	if got := runLVM(t, "lvs", "--noheadings", "-o", "lv_name,lv_tags", vg); strings.Contains(got, "copying") || strings.Contains(got, "loam.fast.v.r") || strings.Contains(got, "loam.fast.s.t") {
		t.Errorf("left behind: %s", got)
	}
	leave()
	if v, err := p.Get(t.Context(), id("a")); err != nil || v.Attached() {
		t.Errorf("Get answered %+v, %v", v, err)
	}
	writeTo(t, p, "a", "new")
	must(t, restore(p, "b"))
	holds(t, p, "b", "old")
	_ = restore(p, "r") // finds the half made one and removes it
	must(t, restore(p, "r"))
	holds(t, p, "r", "old")
	another := volume.SnapshotSpec{ID: id("t"), Volumes: []volume.ID{id("a")}}
	_, _ = p.CreateSnapshot(t.Context(), another)
	must(t, second(p.CreateSnapshot(t.Context(), another)))
}

// LVM would remove the snapshots with their volume, and let them overflow when it grows.
func TestAVolumeWithSnapshots(t *testing.T) {
	p := thick(t, kinds()[0], host.NewRunner())
	larger := volume.Range{RequiredBytes: 16 * volume.MiB}
	refused := func(what string, err error) {
		t.Helper()
		if !volume.Is(err, volume.InUse) || !strings.Contains(err.Error(), id("s").String()) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("Delete", p.Delete(t.Context(), id("a")))
	refused("Expand", second(p.Expand(t.Context(), id("a"), larger)))
	if v, err := p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 8 * volume.MiB}); err != nil || v.Size != 8*volume.MiB {
		t.Errorf("Expand to the size that it has: %+v, %v", v, err)
	}
	attach(t, p, "a")
	refused("Expand of an attached one", second(p.Expand(t.Context(), id("a"), larger)))
	must(t, p.DeleteSnapshot(t.Context(), id("s")))
	must(t, second(p.Expand(t.Context(), id("a"), larger)))
	must(t, p.Detach(t.Context(), id("a")))
	holds(t, p, "a", "old")
	must(t, p.Delete(t.Context(), id("a")))
	must(t, p.Delete(t.Context(), id("a")))
}

// A snapshot that could not keep what was overwritten is reported and not restored. Its volume goes on.
func TestALostSnapshot(t *testing.T) {
	p := thick(t, kinds()[0], host.NewRunner())
	device := attach(t, p, "a")
	cow := vg + "-loam.fast.s.s-cow"
	size := strings.Fields(run(t, "dmsetup", "table", cow))[1]
	run(t, "dmsetup", "suspend", "--noflush", cow)
	run(t, "dmsetup", "load", cow, "--table", "0 "+size+" error")
	run(t, "dmsetup", "resume", cow)
	run(t, "sh", "-c", "printf new | dd of="+device+" conv=notrunc,fsync 2>/dev/null")
	if s := status(t, p); s.Healthy || !strings.Contains(s.Message, "loam.fast.s.s") {
		t.Errorf("Status answered %+v", s)
	}
	if err := restore(p, "b"); !volume.Is(err, volume.Internal) || !strings.Contains(err.Error(), "lost") {
		t.Errorf("restore answered %v", err)
	}
	if volumes, err := p.List(t.Context(), "", 0); err != nil || len(volumes) != 1 {
		t.Errorf("List answered %v, %v", volumes, err)
	}
	must(t, p.DeleteSnapshot(t.Context(), id("s")))
	if s := status(t, p); !s.Healthy {
		t.Errorf("Status without it answered %+v", s)
	}
	must(t, p.Detach(t.Context(), id("a")))
	holds(t, p, "a", "new")
}

// A device that refuses writes does so also after LVM loaded it anew.
func TestSnapshotsOfAReadOnlyVolume(t *testing.T) {
	p := thick(t, kinds()[0], host.NewRunner())
	device, err := p.Attach(t.Context(), id("a"), true)
	must(t, err)
	refuses := func(after string) {
		t.Helper()
		if got := run(t, "blockdev", "--getro", device); got != "1" {
			t.Errorf("after %s the device is writable", after)
		}
	}
	refuses("Attach")
	must(t, second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s2"), Volumes: []volume.ID{id("a")}})))
	refuses("CreateSnapshot")
	must(t, restore(p, "r"))
	refuses("a restore")
	must(t, p.DeleteSnapshot(t.Context(), id("s")))
	refuses("DeleteSnapshot")
	must(t, p.DeleteSnapshot(t.Context(), id("s2")))
	refuses("DeleteSnapshot of the last one")
	must(t, p.Detach(t.Context(), id("a")))
	holds(t, p, "r", "old")
}
