package pooltest

import (
	"slices"

	"github.com/loam-storage/loam/driver/volume"
)

var groupTests = []test{
	{name: "a group has a snapshot of each volume, at one instant", snapshots: true, run: func(e *env) {
		e.create("a")
		e.create("b")
		e.write("a", "a", 0)
		e.write("b", "b", 0)
		taken := e.group("g", "b", "a")
		if len(taken) != 2 || taken[0].Volume != e.id("b") || taken[1].Volume != e.id("a") || taken[0].Group != "g" ||
			!taken[0].Created.Equal(taken[1].Created) || taken[0].ID == taken[1].ID {
			e.Fatalf("CreateSnapshot answered %+v", taken)
		}
		got, err := e.s.GetGroup(e.Context(), e.id("g"))
		e.ok("GetGroup", err)
		if len(got) != 2 || len(e.snapshotNames()) != 2 {
			e.Errorf("GetGroup answered %+v, ListSnapshots %v", got, e.snapshotNames())
		}
		e.write("b", "x", 0)
		e.make(e.from(volume.FromSnapshot, taken[0].ID.Name, "c", 0))
		e.holds("c", "b", 0)
	}},
	{name: "groups of attached volumes have what was synced to all of them", snapshots: true, run: func(e *env) {
		devices := map[string]string{}
		for _, name := range []string{"a", "b"} {
			e.create(name)
			devices[name] = e.attach(name)
		}
		for _, group := range []string{"g", "h"} {
			for name, device := range devices {
				e.writeDevice(device, group+name, 0)
			}
			e.group(group, "a", "b")
		}
		for name, device := range devices {
			e.writeDevice(device, "x"+name, 0)
			e.detach(name)
		}
		for _, group := range []string{"g", "h"} {
			for name := range devices {
				e.make(e.from(volume.FromSnapshot, volume.MemberName(group, name), "restored", 0))
				e.holds("restored", group+name, 0)
				e.ok("Delete", e.p.Delete(e.Context(), e.id("restored")))
			}
		}
	}},
	{name: "again it is the same group, with other volumes it is Exists", snapshots: true, run: func(e *env) {
		e.create("a")
		e.create("b")
		first, again := e.group("g", "a"), e.group("g", "a")
		if len(again) != 1 || !first[0].Created.Equal(again[0].Created) {
			e.Errorf("first %+v, again %+v", first, again)
		}
		spec := e.snapshotSpec("g", "a", "b")
		spec.Group = true
		_, err := e.s.CreateSnapshot(e.Context(), spec)
		e.is("CreateSnapshot", err, volume.Exists)
	}},
	{name: "a group goes as a whole", snapshots: true, run: func(e *env) {
		e.create("a")
		e.create("b")
		free := e.status().FreeBytes
		taken := e.group("g", "a", "b")
		e.is("DeleteSnapshot of a member", e.s.DeleteSnapshot(e.Context(), taken[0].ID), volume.Invalid)
		e.ok("DeleteGroup", e.s.DeleteGroup(e.Context(), e.id("g")))
		e.ok("DeleteGroup again", e.s.DeleteGroup(e.Context(), e.id("g")))
		_, err := e.s.GetGroup(e.Context(), e.id("g"))
		e.is("GetGroup", err, volume.NotFound)
		e.free(free)
		if names := e.snapshotNames(); len(names) != 0 {
			e.Errorf("ListSnapshots answered %v", names)
		}
	}},
	{name: "a group of no, of doubled and of foreign volumes is refused", snapshots: true, run: func(e *env) {
		e.create("a")
		foreign := volume.ID{Node: e.o.Node, Pool: "another", Name: "a"}
		for what, c := range map[string]struct {
			volumes []volume.ID
			kind    volume.Kind
		}{
			"none":    {nil, volume.Invalid},
			"doubled": {[]volume.ID{e.id("a"), e.id("a")}, volume.Invalid},
			"foreign": {[]volume.ID{e.id("a"), foreign}, volume.InUse},
		} {
			_, err := e.s.CreateSnapshot(e.Context(), volume.SnapshotSpec{ID: e.id("g"), Group: true, Volumes: c.volumes})
			e.is(what, err, c.kind)
		}
		if names := e.snapshotNames(); len(names) != 0 {
			e.Errorf("ListSnapshots answered %v", names)
		}
	}},
	{name: "a single snapshot and a group may have one name", snapshots: true, run: func(e *env) {
		e.create("a")
		e.snapshot("x", "a")
		e.group("x", "a")
		e.ok("DeleteGroup", e.s.DeleteGroup(e.Context(), e.id("x")))
		if names := e.snapshotNames(); !slices.Equal(names, []string{"x"}) {
			e.Errorf("ListSnapshots answered %v", names)
		}
	}},
}
