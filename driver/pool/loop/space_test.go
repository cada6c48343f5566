package loop_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/volume"
)

func freeBytes(t *testing.T, p *loop.Pool) volume.Size {
	t.Helper()
	s, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.FreeBytes
}

func TestReserveIsNeverGivenOut(t *testing.T) {
	plain, _ := newPool(t, loop.Config{})
	for what, c := range map[string]struct {
		config loop.Config
		kept   volume.Size
	}{
		"bytes":   {loop.Config{Space: config.Space{ReserveBytes: 100 * volume.MiB}}, 100 * volume.MiB},
		"percent": {loop.Config{Space: config.Space{ReservePercent: 25}}, 512 * volume.MiB / 8}, // of less than 512 MiB, for the log is not counted
	} {
		p, _ := newPool(t, c.config)
		if kept := freeBytes(t, plain) - freeBytes(t, p); kept < c.kept-volume.MiB {
			t.Errorf("reserve in %s: %s are kept back", what, kept)
		}
		_, err := p.Create(t.Context(), volume.Spec{ID: id("a"), Size: volume.Range{RequiredBytes: freeBytes(t, p) + 3*volume.MiB}})
		if !volume.Is(err, volume.Full) {
			t.Errorf("reserve in %s: Create of more than is free: %v", what, err)
		}
	}
}

// Who is told that there is no room hears how much there is, and what takes the rest.
func TestNoRoomIsExplained(t *testing.T) {
	hosttest.NeedsRoot(t)
	c := loop.Config{Directory: t.TempDir(), SizeBytes: 512 * volume.MiB, Create: true, Space: config.Space{ReserveBytes: 100 * volume.MiB}}
	p := open(t, c)
	t.Cleanup(func() { closeAll(t, p) })
	create(t, p, "a", 64*volume.MiB)
	says := func(what string, err error, words ...string) {
		t.Helper()
		if !volume.Is(err, volume.Full) {
			t.Errorf("%s: %v", what, err)
			return
		}
		for _, word := range append(words, `pool "fast" has `, " free, ", " asked", "64MiB are promised", "100MiB of its", "reserve keeps back") {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s does not say %q: %v", what, word, err)
			}
		}
	}
	_, err := p.Create(t.Context(), volume.Spec{ID: id("b"), Size: volume.Range{RequiredBytes: volume.GiB}})
	says("Create", err, "1GiB asked")
	_, err = p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: volume.GiB})
	says("Expand", err, `"n1/fast/a"`, "from 64MiB to 1GiB")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	c.ReserveBytes = 3 * volume.GiB
	p = open(t, c)
	s, err := p.Status(t.Context())
	if err != nil || s.Healthy || s.FreeBytes != 0 || !strings.Contains(s.Message, "reserve keeps back 3GiB") {
		t.Errorf("with a reserve that is larger than the pool Status answered %+v, %v", s, err)
	}
	_, err = p.Create(t.Context(), volume.Spec{ID: id("b"), Size: volume.Range{RequiredBytes: volume.MiB}})
	if !volume.Is(err, volume.Full) || !strings.Contains(err.Error(), "3GiB") || !strings.Contains(err.Error(), "reserve") {
		t.Errorf("Create with such a reserve: %v", err)
	}
	c.Directory, c.SizeBytes, c.ReserveBytes = t.TempDir(), 8*volume.TiB, 0
	_, err = loop.Open(t.Context(), "fast", node, c, host.New(host.NewRunner()))
	if !volume.Is(err, volume.Full) || !strings.Contains(err.Error(), " left of ") || !strings.Contains(err.Error(), "8TiB") {
		t.Errorf("Open of a pool that is larger than its disk: %v", err)
	}
}

func TestSparsePoolPromisesNoMoreThanItHasUnlessTold(t *testing.T) {
	plain, _ := newPool(t, loop.Config{Sparse: true})
	free := freeBytes(t, plain)
	create(t, plain, "a", free/4*3)
	if _, err := plain.Create(t.Context(), volume.Spec{ID: id("b"), Size: volume.Range{RequiredBytes: free / 2}}); !volume.Is(err, volume.Full) {
		t.Errorf("Create beyond the size of the pool: %v", err)
	}
	double, _ := newPool(t, loop.Config{Sparse: true, Space: config.Space{Overprovision: 2}})
	if got := freeBytes(t, double); got < 2*free-8*volume.MiB || got > 2*free+16*volume.MiB {
		t.Errorf("with overprovision 2 %s are free, and %s without", got, free)
	}
	create(t, double, "a", free)
	create(t, double, "b", free/2)
	if _, err := double.Create(t.Context(), volume.Spec{ID: id("c"), Size: volume.Range{RequiredBytes: free}}); !volume.Is(err, volume.Full) {
		t.Errorf("Create beyond the ratio: %v", err)
	}
}

func TestWhatOthersPutIntoTheDirectoryCounts(t *testing.T) {
	hosttest.NeedsRoot(t)
	c := loop.Config{Directory: t.TempDir()}
	mountNew(t, "ext4", c.Directory)
	p := open(t, c)
	t.Cleanup(func() { closeAll(t, p) })
	before := freeBytes(t, p)
	run(t, "fallocate", "--length=200M", filepath.Join(c.Directory, "somebody-elses"))
	if taken := before - freeBytes(t, p); taken < 199*volume.MiB || taken > 203*volume.MiB {
		t.Errorf("another file of 200 MiB took %s of the pool", taken)
	}
	create(t, p, "a", freeBytes(t, p))
	run(t, "rm", filepath.Join(c.Directory, "somebody-elses"))
	if got := freeBytes(t, p); got < 190*volume.MiB {
		t.Errorf("with the other file gone %s are free", got)
	}
}

func TestSnapshotOwesOnlyWhatIsWritten(t *testing.T) {
	p, _ := newPool(t, loop.Config{})
	size := freeBytes(t, p) / 4 * 3
	create(t, p, "a", size)
	device := attach(t, p, "a", false)
	run(t, "dd", "if=/dev/urandom", "of="+device, "bs=1M", "count=16", "oflag=direct", "status=none")
	before := freeBytes(t, p)
	snapshot := volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}}
	if _, err := p.CreateSnapshot(t.Context(), snapshot); err != nil {
		t.Fatal(err)
	}
	owed := before - freeBytes(t, p)
	if owed < 16*volume.MiB || owed > 20*volume.MiB {
		t.Errorf("a snapshot of 16 written MiB took %s", owed)
	}
	// What was owed is paid when the volume is written to, and no more.
	run(t, "dd", "if=/dev/urandom", "of="+device, "bs=1M", "count=16", "oflag=direct", "status=none")
	if paid := before - freeBytes(t, p); paid < owed-2*volume.MiB || paid > owed+2*volume.MiB {
		t.Errorf("after writing the volume anew the snapshot takes %s, and %s before", paid, owed)
	}
	detach(t, p, "a")
}

func TestOwnFileSystemGrowsAndNeverShrinks(t *testing.T) {
	hosttest.NeedsRoot(t)
	c := loop.Config{Directory: t.TempDir(), SizeBytes: 400 * volume.MiB}
	p := open(t, c)
	create(t, p, "a", 8*volume.MiB)
	before := freeBytes(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	c.SizeBytes = 600 * volume.MiB
	p = open(t, c)
	if grown := freeBytes(t, p) - before; grown < 180*volume.MiB {
		t.Errorf("200 MiB more gave %s", grown)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	c.SizeBytes = 500 * volume.MiB
	if _, err := loop.Open(t.Context(), "fast", node, c, host.New(host.NewRunner())); !volume.Is(err, volume.Invalid) {
		t.Errorf("Open with a smaller size: %v", err)
	}
	c.SizeBytes = 1 << 50
	if _, err := loop.Open(t.Context(), "fast", node, c, host.New(host.NewRunner())); !volume.Is(err, volume.Full) && !volume.Is(err, volume.OutOfRange) {
		t.Errorf("Open with an absurd size: %v", err)
	}
	if info, err := os.Stat(filepath.Join(c.Directory, "filesystem")); err != nil || info.Size() != int64(600*volume.MiB) {
		t.Errorf("the file system's file is %v, %v", info, err)
	}
}

// The mount table has no symbolic links, and a file system must not be mounted once more by each process.
func TestOwnFileSystemBehindALinkIsMountedOnce(t *testing.T) {
	hosttest.NeedsRoot(t)
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "disk"), 0o700), os.Symlink("disk", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	c := loop.Config{Directory: filepath.Join(dir, "link", "pool"), SizeBytes: 400 * volume.MiB}
	p := open(t, c)
	t.Cleanup(func() { closeAll(t, p) })
	create(t, p, "v", 16*volume.MiB)
	_, err := p.Attach(t.Context(), id("v"), false) // so that it stays mounted
	if err := errors.Join(err, p.Close()); err != nil {
		t.Fatal(err)
	}
	p = open(t, c)
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil || len(mounts) != 1 {
		t.Errorf("%d mounts, %v", len(mounts), err)
	}
}

func TestConfigurationThatCannotBeMetIsRefused(t *testing.T) {
	for what, c := range map[string]loop.Config{
		"relative directory":          {Directory: "pools/fast"},
		"no directory":                {},
		"size too small":              {Directory: "/x", SizeBytes: volume.MiB},
		"negative size":               {Directory: "/x", SizeBytes: -1},
		"overprovision, preallocated": {Directory: "/x", Space: config.Space{Overprovision: 2}},
		"overprovision below 1":       {Directory: "/x", Sparse: true, Space: config.Space{Overprovision: 0.5}},
		"reserve of all":              {Directory: "/x", Space: config.Space{ReservePercent: 100}},
		"reserve twice":               {Directory: "/x", Space: config.Space{ReservePercent: 5, ReserveBytes: 1}},
	} {
		if err := c.Check(); !volume.Is(err, volume.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
