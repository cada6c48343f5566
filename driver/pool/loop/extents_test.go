package loop_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/volume"
)

const (
	fragment  = 4096
	fragments = 24_000 // more than a call goes through by itself, and more than are shared without a rehearsal
)

// fragmented makes a volume with an ext4, and writes single blocks of its image where that has nothing yet.
func fragmented(t *testing.T, p *loop.Pool, c loop.Config, name string) {
	t.Helper()
	create(t, p, name, 2*fragments*fragment+64*volume.MiB)
	run(t, "mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0", attach(t, p, name, false))
	detach(t, p, name)
	image := filepath.Join(rootOf(c), "volumes", name, "image")
	written := map[uint64]bool{}
	err := host.Extents(image, func(e host.Extent) {
		for at := e.Logical >> 20; e.Written && at <= (e.Logical+e.Bytes)>>20; at++ {
			written[at] = true
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := bytes.Repeat([]byte("loam"), fragment/4)
	for at, n := uint64(0), 0; n < fragments; at += 2 * fragment {
		if written[at>>20] {
			continue
		}
		if _, err := f.WriteAt(block, int64(at)); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

func rootOf(c loop.Config) string {
	if c.SizeBytes > 0 {
		return filepath.Join(c.Directory, "mounted")
	}
	return c.Directory
}

func TestAFreezeThatWouldBeTooLongIsRefusedBefore(t *testing.T) {
	p, c := newPool(t, loop.Config{SizeBytes: 2 * volume.GiB})
	fragmented(t, p, c, "a")
	dir := mountAt(t, attach(t, p, "a", false), volume.Ext4, nil)
	spec := volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}, MaxFreeze: time.Nanosecond}
	_, err := p.CreateSnapshot(t.Context(), spec)
	if !volume.Is(err, volume.InUse) || !strings.Contains(err.Error(), " extents") || !strings.Contains(err.Error(), "maxFreeze") {
		t.Errorf("CreateSnapshot: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "not frozen"), []byte("x"), 0o600); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(rootOf(c), "new")); err != nil || len(left) != 0 {
		t.Errorf("in new are %v, %v", left, err)
	}
	spec.MaxFreeze = 0
	if _, err := p.CreateSnapshot(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "later"), []byte("x"), 0o600); err != nil {
		t.Error(err)
	}
}

// The image is shared piece by piece while the volume is written to, and once more while it is frozen. A writer counts up in
// two files, the first one always first.
func TestASnapshotThatWasRehearsedIsOfOneInstant(t *testing.T) {
	for _, fsType := range []string{"xfs", "btrfs"} {
		t.Run(fsType, func(t *testing.T) {
			hosttest.NeedsRoot(t)
			c := loop.Config{Directory: t.TempDir(), Sparse: true, Space: config.Space{Overprovision: 2}}
			mountNew(t, fsType, c.Directory)
			p := open(t, c)
			t.Cleanup(func() { closeAll(t, p) })
			fragmented(t, p, c, "a")
			w := countUp(t, mountAt(t, attach(t, p, "a", false), volume.Ext4, nil))
			_, err := p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}, MaxFreeze: time.Minute})
			w()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Create(t.Context(), volume.Spec{ID: id("b"), Source: &volume.Source{Kind: volume.FromSnapshot, ID: id("s")}}); err != nil {
				t.Fatal(err)
			}
			copied := mountAt(t, attach(t, p, "b", false), volume.Ext4, nil)
			var counts [2]uint64
			for i, name := range counters {
				text, err := os.ReadFile(filepath.Join(copied, name))
				if err != nil || len(text) != 8 {
					t.Fatalf("%s holds %d bytes, %v", name, len(text), err)
				}
				counts[i] = binary.BigEndian.Uint64(text)
			}
			if counts[0] == 0 || (counts[0] != counts[1] && counts[0] != counts[1]+1) {
				t.Errorf("the files hold %d and %d", counts[0], counts[1])
			}
		})
	}
}

var counters = [2]string{"first", "second"}

// countUp writes a number, and then the next, into two files of a directory until the function that it returns is called.
func countUp(t *testing.T, dir string) (end func()) {
	t.Helper()
	var files [2]*os.File
	for i, name := range counters {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|os.O_SYNC, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = f
	}
	stop, begun := make(chan struct{}), make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for count := uint64(1); ; count++ {
			for _, f := range files {
				if _, err := f.WriteAt(binary.BigEndian.AppendUint64(nil, count), 0); err != nil {
					t.Error(err)
				}
			}
			if count == 1 {
				close(begun)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	<-begun
	return func() {
		close(stop)
		writer.Wait()
		for _, f := range files {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// What is said to be free within a moment is compared with what is found by going through all extents, which a pool that
// is only looked at does.
func TestRoomIsNeverMoreThanThereIs(t *testing.T) {
	hosttest.NeedsRoot(t)
	c := loop.Config{Directory: t.TempDir(), SizeBytes: 2 * volume.GiB}
	p := open(t, c)
	t.Cleanup(func() { closeAll(t, p) })
	compare := func(what string) {
		t.Helper()
		inspected, err := loop.Inspect(t.Context(), "fast", node, c, host.New(host.NewRunner()))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := inspected.Close(); err != nil {
				t.Error(err)
			}
		}()
		said, exact := freeBytes(t, p), freeBytes(t, inspected)
		if said > exact+volume.MiB { // what the file system itself takes in between
			t.Errorf("%s: %s are said to be free, and %s are", what, said, exact)
		}
		if exact-said > volume.GiB || (exact > 512*volume.MiB && said <= 0) {
			t.Errorf("%s: only %s are said to be free of %s", what, said, exact)
		}
		t.Logf("%s: %s of %s", what, said, exact)
	}
	snapshot := func(name string) {
		t.Helper()
		if _, err := p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id(name), Volumes: []volume.ID{id("a")}}); err != nil {
			t.Fatal(err)
		}
	}
	fragmented(t, p, c, "a")
	compare("with one volume")
	snapshot("s")
	compare("with a snapshot")
	device := attach(t, p, "a", false)
	write := func() {
		run(t, "dd", "if=/dev/urandom", "of="+device, "bs=1M", "count=64", "seek=64", "oflag=direct", "conv=notrunc", "status=none")
	}
	write()
	compare("after writing over what is shared")
	snapshot("s2")
	write()
	compare("after a second snapshot")
	run(t, "blkdiscard", "--offset", "64MiB", "--length", "64MiB", device)
	compare("after a discard")
	detach(t, p, "a")
	if err := p.DeleteSnapshot(t.Context(), id("s2")); err != nil {
		t.Fatal(err)
	}
	compare("after deleting a snapshot")
	snapshot("s2")
	compare("after taking another one of its name")
	restored := volume.Spec{ID: id("b"), Source: &volume.Source{Kind: volume.FromSnapshot, ID: id("s")}}
	for range 2 {
		if _, err := p.Create(t.Context(), restored); err != nil {
			t.Fatal(err)
		}
		compare("with a restored volume")
		if err := p.Delete(t.Context(), id("b")); err != nil {
			t.Fatal(err)
		}
		compare("without it")
	}
	create(t, p, "new", 100*volume.MiB)
	compare("with a new volume")
	other := filepath.Join(c.Directory, "mounted", "somebody-elses")
	run(t, "fallocate", "--length=200M", other)
	compare("with a file of somebody else's")
	run(t, "rm", other)
	compare("without it")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = open(t, c)
	compare("after a restart")
}
