package lvm

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/pool/lvm/vg/metadata"
	"github.com/loam-storage/loam/driver/pool/lvm/vg/vgtest"
	"github.com/loam-storage/loam/driver/volume"
)

func fakePool(t *testing.T, f *vgtest.LVM) *Pool { return fakePoolOf(t, Config{VolumeGroup: "vg0"}, f) }

func fakePoolOf(t *testing.T, c Config, f *vgtest.LVM) *Pool {
	t.Helper()
	p, err := newPool("fast", "n1", c, host.New(f), f)
	if err != nil {
		t.Fatal(err)
	}
	p.diskBlock = func(string) (volume.Size, error) { return volume.LeastBlockBytes, nil }
	p.vg.Disks, f.Locks = vg.Disks{Open: f.Open, Flush: f.Flush, All: f.BlockDevices}, t.TempDir()
	if _, err := p.vg.Report(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Commands = nil
	return p
}

var failed5 = vgtest.Failed()

func specOf(name string) volume.Spec {
	return volume.Spec{ID: volume.ID{Node: "n1", Pool: "fast", Name: name}, Size: volume.Range{RequiredBytes: 8 * volume.MiB}}
}

// A command that hung and was killed may have done its work.
func TestAKilledCommandThatDidItsWorkIsFoundOut(t *testing.T) {
	for what, killed := range map[string]error{"killed": volume.Errorf(volume.Internal, "lvm did not end within 2m and was killed"), "failed": failed5} {
		f := &vgtest.LVM{Disks: []string{"/dev/vda"}, Change: func(f *vgtest.LVM, args []string) error { f.Made(args); return killed }}
		p := fakePool(t, f)
		v, err := p.Create(t.Context(), specOf("a"))
		if err != nil || v.Size != 8*volume.MiB || v.Mark != volume.Fresh {
			t.Errorf("%s: Create answered %+v, %v", what, v, err)
		}
		f.Change = func(*vgtest.LVM, []string) error { return killed }
		if _, err := p.Create(t.Context(), specOf("b")); !volume.Is(err, volume.Internal) || !strings.Contains(err.Error(), killed.Error()) {
			t.Errorf("%s: a Create that did nothing: %v", what, err)
		}
	}
}

func TestCommandsScanOnlyThePoolsDisks(t *testing.T) {
	f := &vgtest.LVM{Disks: []string{"/dev/vda", "/dev/vdb"}, Change: func(f *vgtest.LVM, args []string) error { f.Made(args); return nil }}
	p := fakePool(t, f)
	if _, err := p.Create(t.Context(), specOf("a")); err != nil {
		t.Fatal(err)
	}
	if c := f.Commands[0]; !slices.Contains(c, "/dev/vda,/dev/vdb") {
		t.Errorf("the command was %v", c)
	}
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatal("waited for 10 s")
		}
		time.Sleep(time.Millisecond)
	}
}

// A name that LVM refuses is hashed on its way there, and comes back as it was.
func TestHashedNamesComeBack(t *testing.T) {
	f := &vgtest.LVM{Disks: []string{"/dev/vda"}, Change: func(f *vgtest.LVM, args []string) error { f.Made(args); return nil }}
	p := fakePool(t, f)
	for _, name := range []string{"b_tdata", "a_rimage_1", "plain"} {
		if _, err := p.Create(t.Context(), specOf(name)); err != nil {
			t.Fatal(err)
		}
		if v, err := p.Get(t.Context(), specOf(name).ID); err != nil || v.ID.Name != name {
			t.Errorf("Get answered %+v, %v", v, err)
		}
	}
	volumes, err := p.List(t.Context(), "", 0)
	if err != nil || len(volumes) != 3 || volumes[0].ID.Name != "a_rimage_1" || volumes[2].ID.Name != "plain" {
		t.Errorf("List answered %v, %v", volumes, err)
	}
	if rest, err := p.List(t.Context(), "a_rimage_1", 1); err != nil || len(rest) != 1 || rest[0].ID.Name != "b_tdata" {
		t.Errorf("the next page has %v, %v", rest, err)
	}
}

// A disk that hangs holds nobody longer than they want to wait.
func TestADiskThatDoesNotAnswer(t *testing.T) {
	p := fakePool(t, &vgtest.LVM{Disks: []string{"/dev/vda"}})
	hangs := make(chan struct{})
	p.vg.Disks.Open = func(string) (metadata.Disk, error) { <-hangs; return nil, errors.New("it is gone") }
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, err := p.Get(ctx, specOf("a").ID)
		cancel()
		if !volume.Is(err, volume.Unavailable) {
			t.Errorf("Get answered %v", err)
		}
	}
	close(hangs)
	if _, err := p.Get(t.Context(), specOf("a").ID); !volume.Is(err, volume.NotFound) {
		t.Errorf("Get answered %v once the disk was gone", err)
	}
}
