package loop_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/volume"
)

// What is on a file system that was unmounted cannot be seen. It must not be taken for deleted.
func TestAPoolWhoseFileSystemHasGoneDeletesNothing(t *testing.T) {
	hosttest.NeedsRoot(t)
	c := loop.Config{Directory: t.TempDir()}
	disk := filepath.Join(t.TempDir(), "disk")
	run(t, "truncate", "--size=400M", disk)
	run(t, "mkfs.ext4", "-q", disk)
	run(t, "mount", "-o", "loop", disk, c.Directory)
	p := open(t, c)
	create(t, p, "a", 8*volume.MiB)
	if err := p.Close(); err != nil { // which lets go of the lock file, that would keep it mounted
		t.Fatal(err)
	}
	run(t, "umount", c.Directory)
	defer run(t, "umount", c.Directory)
	for what, err := range map[string]error{
		"Delete":         p.Delete(t.Context(), id("a")),
		"Detach":         p.Detach(t.Context(), id("a")),
		"DeleteSnapshot": p.DeleteSnapshot(t.Context(), id("s")),
		"DeleteGroup":    p.DeleteGroup(t.Context(), id("g")),
	} {
		if !volume.Is(err, volume.Unavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	run(t, "mount", "-o", "loop", disk, c.Directory)
	if _, err := p.Get(t.Context(), id("a")); err != nil {
		t.Errorf("mounted again: %v", err)
	}
}

// A damaged volume is told of when it is asked for, and does not hide the others or keep the pool shut.
func TestADamagedVolumeHidesNoOther(t *testing.T) {
	hosttest.NeedsRoot(t)
	c := loop.Config{Directory: t.TempDir(), SizeBytes: 512 * volume.MiB}
	p := open(t, c)
	create(t, p, "good", 8*volume.MiB)
	create(t, p, "damaged", 8*volume.MiB)
	root := filepath.Join(c.Directory, "mounted")
	record := filepath.Join(root, "volumes", "damaged", "volume.json")
	if err := os.WriteFile(record, []byte(`{"version": 99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "mkdir", filepath.Join(root, "volumes", "stray"), filepath.Join(root, "new", "volume-x"))
	run(t, "touch", filepath.Join(root, "volumes", "file"), filepath.Join(root, "snapshots", "file"))
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = open(t, c)
	t.Cleanup(func() { closeAll(t, p) })
	if s, err := p.Status(t.Context()); err != nil || s.Healthy || !strings.Contains(s.Message, "n1/fast/damaged") {
		t.Errorf("Status, before anything was read: %+v, %v", s, err)
	}
	if v, err := p.List(t.Context(), "", 0); err != nil || len(v) != 2 || v[0].ID != id("damaged") || v[1].ID != id("good") {
		t.Errorf("List answered %v, %v", v, err)
	}
	if s, err := p.ListSnapshots(t.Context(), "", 0); err != nil || len(s) != 0 {
		t.Errorf("ListSnapshots answered %v, %v", s, err)
	}
	if v, err := p.Get(t.Context(), id("damaged")); err != nil || !strings.Contains(v.Damage, "version 99") || v.Size != 8*volume.MiB {
		t.Errorf("Get of the damaged volume: %+v, %v", v, err)
	}
	if _, err := p.Get(t.Context(), id("stray")); !volume.Is(err, volume.NotFound) {
		t.Errorf("Get of a stray directory: %v", err)
	}
	if _, err := p.Status(t.Context()); err != nil {
		t.Error(err)
	}
}
