package loop_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/volume"
)

// eachPool runs a test with a pool on each kind of file system, of which ext4 cannot share blocks.
func eachPool(t *testing.T, test func(t *testing.T, p *loop.Pool, c loop.Config)) {
	for _, on := range []string{"xfs", "btrfs", "ext4"} {
		t.Run("on "+on, func(t *testing.T) {
			hosttest.NeedsRoot(t)
			c := loop.Config{Directory: t.TempDir(), Sparse: true, Space: config.Space{Overprovision: 3}}
			mountNew(t, on, c.Directory)
			p := open(t, c)
			t.Cleanup(func() { closeAll(t, p) })
			test(t, p, c)
		})
	}
}

func freeze(t *testing.T, dir string) {
	t.Helper()
	run(t, "fsfreeze", "--freeze", dir)
	t.Cleanup(func() { run(t, "sh", "-c", "fsfreeze --unfreeze "+dir+" 2>/dev/null || true") }) // before it is unmounted
}

// A backup tool freezes the file system, asks for the snapshot, and thaws it afterwards.
func TestSnapshotOfWhatSomebodyElseHasFrozen(t *testing.T) {
	eachPool(t, func(t *testing.T, p *loop.Pool, _ loop.Config) {
		for _, fsType := range []volume.FSType{volume.Ext4, volume.XFS} {
			name := string(fsType)
			dir := mounted(t, p, name, fsType)
			want := bytes.Repeat([]byte(name), 1<<20)
			if err := os.WriteFile(filepath.Join(dir, "data"), want, 0o600); err != nil {
				t.Fatal(err)
			}
			freeze(t, dir)
			if _, err := p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s-" + name), Volumes: []volume.ID{id(name)}}); err != nil {
				t.Fatal(err)
			}
			run(t, "fsfreeze", "--unfreeze", dir) // fails where it was thawed
			if _, err := p.Create(t.Context(), volume.Spec{ID: id("b-" + name), Source: &volume.Source{Kind: volume.FromSnapshot, ID: id("s-" + name)}}); err != nil {
				t.Fatal(err)
			}
			var options []string
			if fsType == volume.XFS {
				options = append(options, "nouuid")
			}
			got, err := os.ReadFile(filepath.Join(mountAt(t, attach(t, p, "b-"+name, false), fsType, options), "data"))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("the restored file has %d bytes, want %d (%v)", len(got), len(want), err)
			}
		}
	})
}

func TestAGroupOfWhichOneIsFrozenBySomebodyElse(t *testing.T) {
	eachPool(t, func(t *testing.T, p *loop.Pool, _ loop.Config) {
		theirs, ours := mounted(t, p, "theirs", volume.Ext4), mounted(t, p, "ours", volume.Ext4)
		freeze(t, theirs)
		spec := volume.SnapshotSpec{ID: id("g"), Group: true, Volumes: []volume.ID{id("ours"), id("theirs")}}
		if _, err := p.CreateSnapshot(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(ours, "later"), []byte("x"), 0o600); err != nil { // thawed
			t.Error(err)
		}
		run(t, "fsfreeze", "--unfreeze", theirs) // fails where it was thawed
	})
}

// Without reflink the copy takes a while, and he who froze it may not wait for its end.
func TestACopyWhoseFreezeEndsInTheMiddleIsNone(t *testing.T) {
	for what, again := range map[string]bool{"thawed": false, "thawed, written to and frozen again": true} {
		t.Run(what, func(t *testing.T) {
			hosttest.NeedsRoot(t)
			c := loop.Config{Directory: t.TempDir()}
			mountNew(t, "ext4", c.Directory)
			p := open(t, c)
			t.Cleanup(func() { closeAll(t, p) })
			create(t, p, "a", 256*volume.MiB)
			device := attach(t, p, "a", false)
			run(t, "mkfs.ext4", "-q", device)
			dir := mountAt(t, device, volume.Ext4, nil)
			if err := os.WriteFile(filepath.Join(dir, "data"), bytes.Repeat([]byte("loam"), 40<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			freeze(t, dir)
			begun := make(chan struct{})
			go func() {
				defer close(begun)
				copied := filepath.Join(c.Directory, "new", "snapshot-s", "image")
				for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(time.Millisecond) {
					if _, allocated, err := host.Allocated(copied); err == nil && allocated > volume.MiB {
						break
					}
				}
				err := exec.Command("fsfreeze", "--unfreeze", dir).Run()
				if again {
					err = errors.Join(err, os.WriteFile(filepath.Join(dir, "between"), []byte("x"), 0o600), exec.Command("fsfreeze", "--freeze", dir).Run())
				}
				if err != nil {
					t.Error(err)
				}
			}()
			_, err := p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}})
			<-begun
			if !volume.Is(err, volume.Busy) || !strings.Contains(err.Error(), "somebody else") {
				t.Errorf("CreateSnapshot: %v", err)
			}
			if again {
				run(t, "fsfreeze", "--unfreeze", dir) // fails where it was thawed
			}
			if left, err := os.ReadDir(filepath.Join(c.Directory, "new")); err != nil || len(left) != 0 {
				t.Errorf("in new are %v, %v", left, err)
			}
			if s, err := p.ListSnapshots(t.Context(), "", 0); err != nil || len(s) != 0 {
				t.Errorf("ListSnapshots answered %v, %v", s, err)
			}
		})
	}
}

// A process was killed while it took a snapshot, and has noted what it had frozen itself.
func TestWhatSomebodyElseHasFrozenStaysSoWhenAPoolIsOpened(t *testing.T) {
	hosttest.NeedsRoot(t)
	c := loop.Config{Directory: t.TempDir(), Sparse: true, Space: config.Space{Overprovision: 3}}
	mountNew(t, "xfs", c.Directory)
	p := open(t, c)
	t.Cleanup(func() { closeAll(t, p) })
	theirs, ours := mounted(t, p, "theirs", volume.Ext4), mounted(t, p, "ours", volume.Ext4)
	freeze(t, theirs)
	freeze(t, ours)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(c.Directory, "new")
	if err := errors.Join(os.Mkdir(filepath.Join(left, "group-g"), 0o700), os.WriteFile(filepath.Join(left, "frozen-group-g"), []byte("ours\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	p = open(t, c)
	if err := os.WriteFile(filepath.Join(ours, "later"), []byte("x"), 0o600); err != nil {
		t.Error(err)
	}
	run(t, "fsfreeze", "--unfreeze", theirs) // fails where it was thawed
	if left, err := os.ReadDir(left); err != nil || len(left) != 0 {
		t.Errorf("in new are %v, %v", left, err)
	}
}
