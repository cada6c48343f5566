package lvm_test

import (
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// What cannot be of one instant is refused before anything is taken, and what can be is taken.
func TestGroupOfAttachedVolumes(t *testing.T) {
	k := kinds()[1]
	k.prepare(t)
	p := open(t, k.config, host.NewRunner()).(pool.Snapshotter)
	t.Cleanup(func() { empty(t, p) })
	attach := func(name string) {
		t.Helper()
		if _, err := p.Attach(t.Context(), id(name), false); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b"} {
		if _, err := p.Create(t.Context(), spec(name, 8*volume.MiB)); err != nil {
			t.Fatal(err)
		}
		attach(name)
	}
	group := volume.SnapshotSpec{ID: id("g"), Group: true, Volumes: []volume.ID{id("a"), id("b")}}
	if _, err := p.CreateSnapshot(t.Context(), group); !volume.Is(err, volume.Unsupported) {
		t.Errorf("a group of two attached volumes: %v", err)
	}
	if s, err := p.ListSnapshots(t.Context(), "", 0); err != nil || len(s) != 0 {
		t.Errorf("ListSnapshots answered %v, %v", s, err)
	}
	if err := p.Detach(t.Context(), id("b")); err != nil {
		t.Fatal(err)
	}
	if s, err := p.CreateSnapshot(t.Context(), group); err != nil || len(s) != 2 {
		t.Errorf("a group of one attached volume: %v, %v", s, err)
	}
	// A member that is half made hides the group until it is made again or removed.
	runLVM(t, "lvchange", "--addtag", "loam.storage/making", "--select", `lv_tags="loam.storage/snapshot=`+id(volume.MemberName("g", "a")).String()+`"`, vg)
	if _, err := p.GetGroup(t.Context(), id("g")); !volume.Is(err, volume.NotFound) {
		t.Errorf("GetGroup of a half made group: %v", err)
	}
	if s, err := p.CreateSnapshot(t.Context(), group); err != nil || len(s) != 2 {
		t.Errorf("the group made again: %v, %v", s, err)
	}
	if err := p.Detach(t.Context(), id("a")); err != nil {
		t.Error(err)
	}
}
