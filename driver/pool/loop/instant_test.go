package loop_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/volume"
)

// mounted makes a volume with a file system and mounts it until the test ends.
func mounted(t *testing.T, p *loop.Pool, name string, fsType volume.FSType) (mountPoint string) {
	t.Helper()
	size := max(64*volume.MiB, fsType.Least())
	create(t, p, name, size)
	device := attach(t, p, name, false)
	run(t, "mkfs."+string(fsType), "-q", device)
	return mountAt(t, device, fsType, nil)
}

func mountAt(t *testing.T, device string, fsType volume.FSType, options []string) (mountPoint string) {
	t.Helper()
	mountPoint = t.TempDir()
	machine := host.New(host.NewRunner())
	if err := machine.Mount(t.Context(), device, mountPoint, fsType, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run(t, "umount", mountPoint) })
	return mountPoint
}

// A writer counts up in two volumes, the first one always first. At any instant the second is not
// ahead of the first, and at most one behind.
func TestGroupIsOfOneInstant(t *testing.T) {
	for _, fsType := range volume.FSTypes() {
		t.Run(string(fsType), func(t *testing.T) { groupOfOneInstant(t, fsType) })
	}
}

func groupOfOneInstant(t *testing.T, fsType volume.FSType) {
	hosttest.NeedsRoot(t)
	p := open(t, loop.Config{Directory: t.TempDir(), SizeBytes: 2 * volume.GiB})
	t.Cleanup(func() { closeAll(t, p) })
	names := []string{"a", "b"}
	var files [2]*os.File
	for i, name := range names {
		f, err := os.Create(filepath.Join(mounted(t, p, name, fsType), "count"))
		if err != nil {
			t.Fatal(err)
		}
		files[i] = f
	}
	stop, count := make(chan struct{}), uint64(0)
	var writer sync.WaitGroup
	writer.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			count++
			for _, f := range files {
				if _, err := f.WriteAt(binary.BigEndian.AppendUint64(nil, count), 0); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	defer func() {
		close(stop)
		writer.Wait()
		for _, f := range files {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
		if count == 0 {
			t.Error("the writer wrote nothing")
		}
	}()
	for round := range 5 {
		group := volume.SnapshotSpec{ID: id("g" + string(rune('0'+round))), Group: true, Volumes: []volume.ID{id("a"), id("b")}}
		taken, err := p.CreateSnapshot(t.Context(), group)
		if err != nil {
			t.Fatal(err)
		}
		var counts [2]uint64
		for i, s := range taken {
			counts[i] = countIn(t, p, s, fsType)
		}
		if counts[0] != counts[1] && counts[0] != counts[1]+1 {
			t.Errorf("the members of the group hold %d and %d", counts[0], counts[1])
		}
		if err := p.DeleteGroup(t.Context(), group.ID); err != nil {
			t.Error(err)
		}
	}
}

// countIn restores the snapshot, reads the count in it, and deletes the restored volume.
func countIn(t *testing.T, p *loop.Pool, s volume.Snapshot, fsType volume.FSType) uint64 {
	t.Helper()
	spec := volume.Spec{ID: id("restored"), Source: &volume.Source{Kind: volume.FromSnapshot, ID: s.ID}}
	if _, err := p.Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	device := attach(t, p, "restored", false)
	dir := t.TempDir()
	options := []string{}
	switch fsType {
	case volume.XFS:
		options = append(options, "nouuid") // its origin is mounted
	case volume.Btrfs:
		run(t, "btrfstune", "-f", "-u", device)
	}
	if err := host.New(host.NewRunner()).Mount(t.Context(), device, dir, fsType, options); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "count"))
	run(t, "umount", dir)
	if err != nil {
		t.Fatal(err)
	}
	detach(t, p, "restored")
	if err := p.Delete(t.Context(), id("restored")); err != nil {
		t.Fatal(err)
	}
	if len(text) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(text)
}

// Without reflink the copy takes a while, in which the volume is frozen.
func TestSnapshotOfAMountedVolumeWithoutReflink(t *testing.T) {
	hosttest.NeedsRoot(t)
	c := loop.Config{Directory: t.TempDir()}
	mountNew(t, "ext4", c.Directory)
	p := open(t, c)
	t.Cleanup(func() { closeAll(t, p) })
	dir := mounted(t, p, "a", volume.Ext4)
	want := bytes.Repeat([]byte("loam"), 4<<20)
	if err := os.WriteFile(filepath.Join(dir, "data"), want, 0o600); err != nil { // not synced
		t.Fatal(err)
	}
	if _, err := p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "later"), want[:4096], 0o600); err != nil { // thawed again
		t.Fatal(err)
	}
	if _, err := p.Create(t.Context(), volume.Spec{ID: id("b"), Source: &volume.Source{Kind: volume.FromSnapshot, ID: id("s")}}); err != nil {
		t.Fatal(err)
	}
	copied := mountAt(t, attach(t, p, "b", false), volume.Ext4, nil)
	got, err := os.ReadFile(filepath.Join(copied, "data"))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the restored file has %d bytes, want %d (%v)", len(got), len(want), err)
	}
	if _, err := os.Stat(filepath.Join(copied, "later")); !os.IsNotExist(err) {
		t.Errorf("a file written after the snapshot: %v", err)
	}
}

// A volume that is written to as a block device cannot be held, so a slow copy of it is refused.
func TestSlowCopyOfAWrittenBlockVolumeIsRefused(t *testing.T) {
	hosttest.NeedsRoot(t)
	c := loop.Config{Directory: t.TempDir()}
	mountNew(t, "ext4", c.Directory)
	p := open(t, c)
	t.Cleanup(func() { closeAll(t, p) })
	create(t, p, "a", 128*volume.MiB)
	device := attach(t, p, "a", false)
	run(t, "dd", "if=/dev/urandom", "of="+device, "bs=1M", "count=128", "oflag=direct", "status=none")
	f, err := os.OpenFile(device, os.O_RDWR|os.O_SYNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for block := make([]byte, 4096); ; {
			select {
			case <-stop:
				return
			default:
				if _, err := f.WriteAt(block, 0); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	_, err = p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}})
	close(stop)
	writer.Wait()
	if !volume.Is(err, volume.Busy) {
		t.Errorf("CreateSnapshot while it was written to: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := p.ListSnapshots(t.Context(), "", 0); err != nil || len(s) != 0 {
		t.Errorf("ListSnapshots answered %v, %v", s, err)
	}
	if _, err = p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}}); err != nil {
		t.Errorf("CreateSnapshot when nobody wrote: %v", err)
	}
}
