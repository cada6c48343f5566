package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/volume"
)

const ownSize = 320 * volume.MiB

// remembered returns a configuration with create, in a directory that is not there yet, of a machine that remembers.
func remembered(t *testing.T, size volume.Size) loop.Config {
	t.Helper()
	hosttest.NeedsRoot(t)
	return loop.Config{Directory: filepath.Join(t.TempDir(), "pool"), SizeBytes: size, Create: true, Known: identity.Store{Directory: t.TempDir()}}
}

// refused expects that the pool is not opened, nor inspected, with those words, and that nothing is written for it.
func refused(t *testing.T, what, name, node string, c loop.Config, says ...string) {
	t.Helper()
	before := tree(t, c)
	machine := host.New(host.NewRunner())
	p, err := loop.Open(t.Context(), name, node, c, machine)
	if err == nil {
		_ = p.Close()
	}
	for _, one := range append(says, `pool "`+name+`"`) {
		if err == nil || !strings.Contains(err.Error(), one) {
			t.Errorf("%s: Open: %v; want %q", what, err, one)
		}
	}
	if after := tree(t, c); after != before {
		t.Errorf("%s: Open changed\n%s\ninto\n%s", what, before, after)
	}
	if _, err := loop.Inspect(t.Context(), name, node, c, machine); err == nil {
		t.Errorf("%s: Inspect is fine", what)
	}
}

// tree is what is in a pool's directory and what the machine knows. To look into a file system is to mount it, which
// writes to its file.
func tree(t *testing.T, c loop.Config) string {
	t.Helper()
	var all strings.Builder
	for _, root := range []string{c.Directory, c.Known.Directory} {
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.Name() == "lock" || e.Name() == "filesystem" {
				return nil
			}
			if info, err := e.Info(); err == nil {
				fmt.Fprintln(&all, path, info.Size(), info.ModTime())
			}
			return nil
		})
	}
	return all.String()
}

func closed(t *testing.T, p *loop.Pool) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// opens expects that the pool opens with that volume in it.
func opens(t *testing.T, what string, c loop.Config, name string) {
	t.Helper()
	p, err := loop.Open(t.Context(), "fast", node, c, host.New(host.NewRunner()))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer closed(t, p)
	if _, err := p.Get(t.Context(), id(name)); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// The disk of a pool is not mounted: whatever the configuration says, no new pool takes its place.
func TestAPoolWhoseDiskIsNotMountedIsNoNewPool(t *testing.T) {
	for what, size := range map[string]volume.Size{"with size": ownSize, "without": 0} {
		c := remembered(t, size)
		disk := filepath.Join(t.TempDir(), "disk")
		mountPoint := filepath.Dir(c.Directory)
		run(t, "truncate", "--size=640M", disk)
		run(t, "mkfs.ext4", "-q", disk)
		run(t, "mount", "-o", "loop", disk, mountPoint)
		p := open(t, c)
		create(t, p, "v", 8*volume.MiB)
		closed(t, p)
		run(t, "umount", mountPoint)

		refused(t, what+", the directory gone", "fast", node, c, "mount its disk", "--forget fast")
		run(t, "mkdir", c.Directory)
		refused(t, what+", an empty directory", "fast", node, c, "--forget fast")
		c.Create = false
		refused(t, what+", without create", "fast", node, c, "--forget fast")

		run(t, "mount", "-o", "loop", disk, mountPoint)
		opens(t, what+", mounted again", c, "v")
		run(t, "umount", mountPoint)

		// Forgotten, it is made anew, and then the old one is not it.
		if _, err := c.Known.Forget("fast"); err != nil {
			t.Fatal(err)
		}
		refused(t, what+", forgotten, without create", "fast", node, c, "create: true")
		c.Create = true
		closed(t, open(t, c))
		run(t, "mount", "-o", "loop", disk, mountPoint)
		refused(t, what+", the one of before", "fast", node, c, "--forget fast")
		run(t, "umount", mountPoint)
	}
}

// The other layout in the same directory is refused, in both directions, also where it is of an earlier release.
func TestTheOtherLayoutIsRefused(t *testing.T) {
	own, plain := remembered(t, ownSize), remembered(t, 0)
	for _, c := range []loop.Config{own, plain} {
		p := open(t, c)
		create(t, p, "v", 8*volume.MiB)
		closed(t, p)
	}
	without, with := own, plain
	without.SizeBytes, with.SizeBytes = 0, ownSize
	refused(t, "size taken out", "fast", node, without, "size")
	refused(t, "size put in", "fast", node, with, "take it out")
	for _, known := range []identity.Store{{}, {Directory: t.TempDir()}} { // and on a machine that knows nothing
		without.Known, with.Known = known, known
		refused(t, "size taken out, not known", "fast", node, without, "put it back")
		refused(t, "size put in, not known", "fast", node, with, "take it out")
	}
	run(t, "rm", filepath.Join(plain.Directory, "pool.json"))
	refused(t, "size put in, of an earlier release", "fast", node, with, "take it out")
	opens(t, "as it was", own, "v")
}

// The file of the file system is removed while it is in use: it is not mounted over, and its volumes stay.
func TestAFileSystemInUseIsNeverMountedOver(t *testing.T) {
	c := remembered(t, ownSize)
	p := open(t, c)
	create(t, p, "v", 8*volume.MiB)
	device := attach(t, p, "v", false)
	file, kept := filepath.Join(c.Directory, "filesystem"), filepath.Join(c.Directory, "kept")
	run(t, "mv", file, kept)
	if s, err := p.Status(t.Context()); err != nil || s.Healthy || !strings.Contains(s.Message, "filesystem") {
		t.Errorf("Status without the file: %+v, %v", s, err)
	}
	closed(t, p)
	for what, known := range map[string]identity.Store{"known": c.Known, "not known": {}} {
		c.Known = known
		refused(t, what, "fast", node, c, "mounted")
		run(t, "truncate", "--size=320M", file) // another one in its place
		refused(t, what+", with another file", "fast", node, c, "mounted")
		run(t, "rm", file)
	}
	run(t, "mv", kept, file)
	p = open(t, c)
	if v, err := p.Get(t.Context(), id("v")); err != nil || v.Device != device {
		t.Errorf("put back: %v, %v", v, err)
	}
	detach(t, p, "v")
	closed(t, p)
}

// A file system below a directory pool that has shut down says nothing of what is on it.
func TestAFileSystemThatHasShutDownIsNotAnEmptyPool(t *testing.T) {
	for _, fsType := range []string{"ext4", "xfs"} {
		c := remembered(t, 0)
		mountPoint := filepath.Dir(c.Directory)
		mountNew(t, fsType, mountPoint)
		p := open(t, c)
		create(t, p, "v", 8*volume.MiB)
		snapshot := volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("v")}}
		if _, err := p.CreateSnapshot(t.Context(), snapshot); err != nil {
			t.Fatal(err)
		}
		shutDown(t, mountPoint)
		isGone(t, fsType+" that has shut down", p)
		_ = p.Close()
	}
}

// shutDown does to a file system what it does itself when it can go on no more.
func shutDown(t *testing.T, mountPoint string) {
	t.Helper()
	const shutdown, noLogFlush = 0x8004587d, 2 // EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN
	f, err := os.Open(mountPoint)
	if err == nil {
		err = errors.Join(unix.IoctlSetPointerInt(int(f.Fd()), shutdown, noLogFlush), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// isGone expects that every call says that the pool cannot be used.
func isGone(t *testing.T, what string, p *loop.Pool) {
	t.Helper()
	ctx := t.Context()
	for call, do := range map[string]func() error{
		"List":           func() error { _, err := p.List(ctx, "", 0); return err },
		"Get":            func() error { _, err := p.Get(ctx, id("v")); return err },
		"Get of none":    func() error { _, err := p.Get(ctx, id("none")); return err },
		"Delete":         func() error { return p.Delete(ctx, id("v")) },
		"Delete of none": func() error { return p.Delete(ctx, id("none")) },
		"Detach":         func() error { return p.Detach(ctx, id("v")) },
		"Create": func() error {
			_, err := p.Create(ctx, volume.Spec{ID: id("new"), Size: volume.Range{RequiredBytes: volume.MiB}})
			return err
		},
		"Status":         func() error { _, err := p.Status(ctx); return err },
		"ListSnapshots":  func() error { _, err := p.ListSnapshots(ctx, "", 0); return err },
		"GetSnapshot":    func() error { _, err := p.GetSnapshot(ctx, id("s")); return err },
		"DeleteSnapshot": func() error { return p.DeleteSnapshot(ctx, id("s")) },
		"GetGroup":       func() error { _, err := p.GetGroup(ctx, id("g")); return err },
		"DeleteGroup":    func() error { return p.DeleteGroup(ctx, id("g")) },
		"CreateSnapshot": func() error {
			_, err := p.CreateSnapshot(ctx, volume.SnapshotSpec{ID: id("t"), Volumes: []volume.ID{id("v")}})
			return err
		},
	} {
		if err := do(); !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), `pool "fast"`) {
			t.Errorf("%s: %s: %v", what, call, err)
		}
	}
}

// Another pool is mounted over the one that is open.
func TestAnotherPoolInItsPlaceIsNotIt(t *testing.T) {
	c, other := remembered(t, 0), remembered(t, 0)
	o := open(t, other)
	create(t, o, "v", 8*volume.MiB)
	closed(t, o)
	p := open(t, c)
	create(t, p, "v", 8*volume.MiB)
	run(t, "mount", "--bind", other.Directory, c.Directory)
	isGone(t, "another pool in its place", p)
	run(t, "umount", c.Directory)
	if _, err := p.Get(t.Context(), id("v")); err != nil {
		t.Errorf("back again: %v", err)
	}
	closed(t, p)
	opens(t, "the other", other, "v")
}

// A file system that took an error is read-only, and the pool on it is not healthy.
func TestAReadOnlyFileSystemIsNotHealthy(t *testing.T) {
	c := remembered(t, 0)
	mountPoint := filepath.Dir(c.Directory)
	mountNew(t, "ext4", mountPoint)
	p := open(t, c)
	create(t, p, "v", 8*volume.MiB)
	look := func(what string) {
		t.Helper()
		s, err := p.Status(t.Context())
		if err != nil || s.Healthy || s.FreeBytes != 0 || s.LargestBytes != 0 || !strings.Contains(s.Message, "read-only") {
			t.Errorf("%s: %+v, %v", what, s, err)
		}
		if v, err := p.List(t.Context(), "", 0); err != nil || len(v) != 1 {
			t.Errorf("%s: List = %v, %v", what, v, err)
		}
	}
	run(t, "mount", "-o", "remount,errors=remount-ro", mountPoint)
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(mountPoint))
	if err != nil || len(mounts) != 1 {
		t.Fatal(mounts, err)
	}
	if err := os.WriteFile("/sys/fs/ext4/"+filepath.Base(mounts[0].Source)+"/trigger_fs_error", []byte("a test\n"), 0); err != nil {
		t.Fatal(err)
	}
	look("after an error")
	closed(t, p)
}

func TestCopiesAndOtherNodesAreRefusedByName(t *testing.T) {
	for what, size := range map[string]volume.Size{"with size": ownSize, "without": 0} {
		c := remembered(t, size)
		p := open(t, c)
		create(t, p, "v", 8*volume.MiB)
		device := attach(t, p, "v", false)
		copied := c
		copied.Directory = filepath.Join(t.TempDir(), "copy")
		run(t, "cp", "-a", c.Directory, copied.Directory) // while it is mounted, so that both have one UUID
		if size > 0 {
			run(t, "rm", "-r", copied.Directory+"/mounted")
			run(t, "mkdir", copied.Directory+"/mounted")
		}
		refused(t, what+": a copy", "slow", node, copied, `pool "fast"`, "copy")
		if device != "" {
			detach(t, p, "v")
		}
		closed(t, p)
		refused(t, what+": another node", "fast", "n2", c, `node "n1"`)
		opens(t, what+": its own", c, "v")
	}
}

// A pool of an earlier release gets its identity once; what only looks like one does not.
func TestPoolsOfAnEarlierReleaseAreAdopted(t *testing.T) {
	for what, size := range map[string]volume.Size{"with size": ownSize, "without": 0} {
		c := remembered(t, size)
		p := open(t, c)
		create(t, p, "v", 8*volume.MiB)
		root := c.Directory
		if size > 0 {
			root = filepath.Join(root, "mounted")
		}
		run(t, "rm", filepath.Join(root, "pool.json"))
		closed(t, p)
		refused(t, what+": known, and its identity lost", "fast", node, c, "--forget fast")
		if _, err := c.Known.Forget("fast"); err != nil {
			t.Fatal(err)
		}
		c.Create = false
		opens(t, what+": not known", c, "v")
		opens(t, what+": with its identity", c, "v")
		if k, err := c.Known.Known("fast"); err != nil || k == nil || k.Pool.How != identity.Adopted {
			t.Errorf("%s: known is %v, %v", what, k, err)
		}
	}
	c := remembered(t, 0)
	c.Create = false
	run(t, "mkdir", "-p", filepath.Join(c.Directory, "volumes"))
	refused(t, "volumes alone", "fast", node, c, "create: true")

	// An earlier release that was started once without size made an empty pool beside the file, which says nothing.
	c = remembered(t, ownSize)
	p := open(t, c)
	create(t, p, "v", 8*volume.MiB)
	run(t, "rm", filepath.Join(c.Directory, "mounted", "pool.json"))
	closed(t, p)
	c.Known = identity.Store{Directory: t.TempDir()}
	for _, dir := range []string{"volumes", "snapshots", "groups", "new"} {
		run(t, "mkdir", filepath.Join(c.Directory, dir))
	}
	opens(t, "beside an empty one", c, "v")
	run(t, "mkdir", filepath.Join(c.Directory, "volumes", "w"))
	refused(t, "beside one with a volume", "fast", node, c, "two pools")
}

// Directories of a pool that are moved away are not made anew, empty.
func TestAPoolWithoutItsVolumesIsRefused(t *testing.T) {
	c := remembered(t, 0)
	p := open(t, c)
	create(t, p, "v", 8*volume.MiB)
	closed(t, p)
	for _, dir := range []string{"volumes", "snapshots", "groups"} {
		path := filepath.Join(c.Directory, dir)
		run(t, "mv", path, path+".away")
		if _, err := loop.Open(t.Context(), "fast", node, c, host.New(host.NewRunner())); !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), dir) {
			t.Errorf("without %s: %v", dir, err)
		}
		run(t, "mv", path+".away", path)
	}
	opens(t, "with all", c, "v")
}

// A making that was cut off anywhere is finished.
func TestAMakingThatWasCutOffIsFinished(t *testing.T) {
	for _, size := range []volume.Size{0, ownSize} {
		for _, left := range []string{"", "volumes", "volumes snapshots groups new", "volumes snapshots groups new pool.json.new", "volumes snapshots groups new pool.json"} {
			c := remembered(t, size)
			p := open(t, c)
			root := c.Directory
			if size > 0 {
				root = filepath.Join(root, "mounted")
			}
			run(t, "cp", filepath.Join(root, "pool.json"), filepath.Join(root, "pool.json.new"))
			for _, name := range []string{"volumes", "snapshots", "groups", "new", "pool.json", "pool.json.new"} {
				if !strings.Contains(" "+left+" ", " "+name+" ") {
					run(t, "rm", "-r", filepath.Join(root, name))
				}
			}
			closed(t, p)
			if _, err := c.Known.Forget("fast"); err != nil { // it is written last
				t.Fatal(err)
			}
			p = open(t, c)
			create(t, p, "v", 8*volume.MiB)
			closed(t, p)
			opens(t, "with "+left, c, "v")
		}
	}
	// A file system of another use is not one that was being made.
	c := remembered(t, ownSize)
	p := open(t, c)
	root := filepath.Join(c.Directory, "mounted")
	run(t, "rm", "-r", filepath.Join(root, "volumes"), filepath.Join(root, "pool.json"))
	run(t, "mkdir", filepath.Join(root, "photographs"))
	closed(t, p)
	c.Known = identity.Store{}
	if _, err := loop.Open(t.Context(), "fast", node, c, host.New(host.NewRunner())); !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), "photographs") {
		t.Errorf("a file system of another use: %v", err)
	}
}

func TestFileSystemsThatKeepNothingAreRefused(t *testing.T) {
	c := remembered(t, 0)
	dir := filepath.Dir(c.Directory)
	for fsType, options := range map[string]string{"tmpfs": "size=700m", "ramfs": "mode=700"} {
		run(t, "mount", "-t", fsType, "-o", options, fsType, dir)
		refused(t, fsType, "fast", node, c, fsType)
		c.SizeBytes = ownSize
		refused(t, fsType+", with size", "fast", node, c, fsType)
		c.SizeBytes = 0
		run(t, "umount", dir)
	}
	run(t, "mkdir", dir+"/lower", dir+"/upper", dir+"/work", dir+"/merged")
	run(t, "mount", "-t", "overlay", "-o", "lowerdir="+dir+"/lower,upperdir="+dir+"/upper,workdir="+dir+"/work", "overlay", dir+"/merged")
	defer run(t, "umount", dir+"/merged")
	c.Directory = dir + "/merged/pool"
	refused(t, "overlay", "fast", node, c, "overlay")
}

func TestMountRequiresAFileSystemOfItsOwn(t *testing.T) {
	c := remembered(t, 0)
	c.Mount = true
	dir := filepath.Dir(c.Directory)
	refused(t, "not there", "fast", node, c, "mount")
	run(t, "mkdir", c.Directory)
	refused(t, "on the system's disk", "fast", node, c, "mount its disk")
	run(t, "mount", "--bind", dir, dir) // as a hostPath is
	refused(t, "bound", "fast", node, c, "mount its disk")
	run(t, "umount", dir)
	mountNew(t, "ext4", dir)
	run(t, "mkdir", c.Directory)
	closed(t, open(t, c))
	c.Known.Directory = filepath.Join(dir, "state")
	refused(t, "on that of the state", "fast", node, c, "mount its disk")
	c.Known.Directory = t.TempDir()
	p, err := loop.Open(context.Background(), "fast", node, c, host.New(host.NewRunner()))
	if err != nil {
		t.Fatal(err)
	}
	closed(t, p)
}
