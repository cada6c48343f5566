package pooltest

import (
	"fmt"
	"slices"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

func (e *env) snapshotter() pool.Snapshotter {
	e.Helper()
	s, ok := e.p.(pool.Snapshotter)
	if !ok {
		e.Fatal("the pool no longer takes snapshots")
	}
	return s
}

func (e *env) snapshotSpec(name string, volumes ...string) volume.SnapshotSpec {
	spec := volume.SnapshotSpec{ID: e.id(name)}
	for _, v := range volumes {
		spec.Volumes = append(spec.Volumes, e.id(v))
	}
	return spec
}

func (e *env) snapshot(name, of string) volume.Snapshot {
	e.Helper()
	taken, err := e.s.CreateSnapshot(e.Context(), e.snapshotSpec(name, of))
	e.ok("CreateSnapshot("+name+")", err)
	if len(taken) != 1 {
		e.Fatalf("CreateSnapshot(%s) answered %d snapshots", name, len(taken))
	}
	return taken[0]
}

func (e *env) group(name string, volumes ...string) []volume.Snapshot {
	e.Helper()
	spec := e.snapshotSpec(name, volumes...)
	spec.Group = true
	taken, err := e.s.CreateSnapshot(e.Context(), spec)
	e.ok("CreateSnapshot of group "+name, err)
	return taken
}

// from returns the spec of a volume that is a copy.
func (e *env) from(kind volume.SourceKind, source, name string, bytes volume.Size) volume.Spec {
	spec := e.spec(name, bytes)
	spec.Source = &volume.Source{Kind: kind, ID: e.id(source)}
	return spec
}

var snapshotTests = []test{
	{name: "a snapshot is listed and found, and again is the same", snapshots: true, run: func(e *env) {
		v := e.create("a")
		s := e.snapshot("s", "a")
		if s.ID != e.id("s") || s.Volume != v.ID || s.Size != v.Size || s.Created.IsZero() || s.Group != "" {
			e.Errorf("CreateSnapshot answered %+v", s)
		}
		got, err := e.s.GetSnapshot(e.Context(), s.ID)
		e.ok("GetSnapshot", err)
		again := e.snapshot("s", "a")
		if !got.Created.Equal(s.Created) || !again.Created.Equal(s.Created) || got.Size != s.Size || got.Volume != s.Volume {
			e.Errorf("GetSnapshot answered %+v, CreateSnapshot %+v and again %+v", got, s, again)
		}
		if names := e.snapshotNames(); !slices.Equal(names, []string{"s"}) {
			e.Errorf("ListSnapshots answered %v", names)
		}
		if names := e.names(); !slices.Equal(names, []string{"a"}) {
			e.Errorf("List answered %v", names)
		}
	}},
	{name: "the name of another volume's snapshot is Exists", snapshots: true, run: func(e *env) {
		e.create("a")
		e.create("b")
		e.snapshot("s", "a")
		_, err := e.s.CreateSnapshot(e.Context(), e.snapshotSpec("s", "b"))
		e.is("CreateSnapshot", err, volume.Exists)
	}},
	{name: "a volume and its snapshot may have one name", snapshots: true, run: func(e *env) {
		e.create("a")
		e.write("a", "old", 0)
		e.snapshot("a", "a")
		e.write("a", "new", 0)
		e.make(e.from(volume.FromSnapshot, "a", "b", 0))
		e.holds("b", "old", 0)
	}},
	{name: "no such volume is NotFound and leaves nothing", snapshots: true, run: func(e *env) {
		e.create("a")
		_, err := e.s.CreateSnapshot(e.Context(), e.snapshotSpec("s", "nobody"))
		e.is("CreateSnapshot", err, volume.NotFound)
		spec := e.snapshotSpec("g", "a", "nobody")
		spec.Group = true
		_, err = e.s.CreateSnapshot(e.Context(), spec)
		e.is("CreateSnapshot of a group", err, volume.NotFound)
		_, err = e.s.GetSnapshot(e.Context(), e.id("s"))
		e.is("GetSnapshot", err, volume.NotFound)
		if names := e.snapshotNames(); len(names) != 0 {
			e.Errorf("ListSnapshots answered %v", names)
		}
	}},
	{name: "deleted it is gone, and again is nil", snapshots: true, run: func(e *env) {
		e.create("a")
		free := e.status().FreeBytes
		e.snapshot("s", "a")
		e.ok("DeleteSnapshot", e.s.DeleteSnapshot(e.Context(), e.id("s")))
		e.ok("DeleteSnapshot again", e.s.DeleteSnapshot(e.Context(), e.id("s")))
		_, err := e.s.GetSnapshot(e.Context(), e.id("s"))
		e.is("GetSnapshot", err, volume.NotFound)
		e.free(free)
		e.holds("a", "", 0)
	}},
	{name: "lists have pages in the order of names", snapshots: true, run: func(e *env) {
		e.make(e.spec("a", 1*volume.MiB))
		e.make(e.spec("b", 1*volume.MiB))
		for i := range 4 {
			e.snapshot(fmt.Sprintf("s%d", i), "a")
		}
		e.group("g", "a", "b")
		all := e.snapshotNames()
		paged := []string{}
		for {
			after := ""
			if len(paged) > 0 {
				after = paged[len(paged)-1]
			}
			snapshots, err := e.s.ListSnapshots(e.Context(), after, 2)
			e.ok("ListSnapshots", err)
			if len(snapshots) == 0 {
				break
			}
			for _, s := range snapshots {
				paged = append(paged, s.ID.Name)
			}
		}
		if len(all) != 6 || !slices.IsSorted(all) || !slices.Equal(all, paged) {
			e.Errorf("at once %v, in pages %v", all, paged)
		}
	}},
	{name: "no room for what writing would need is Full", snapshots: true, run: func(e *env) {
		e.make(e.spec("a", e.status().LargestBytes*3/4))
		device := e.attach("a")
		e.fill(device)
		e.detach("a")
		_, err := e.s.CreateSnapshot(e.Context(), e.snapshotSpec("s", "a"))
		e.is("CreateSnapshot", err, volume.Full)
		if names := e.snapshotNames(); len(names) != 0 {
			e.Errorf("ListSnapshots answered %v", names)
		}
	}},
	{name: "a volume with a snapshot can be written to its last byte in a full pool", snapshots: true, run: func(e *env) {
		e.make(e.spec("a", e.status().LargestBytes/4))
		device := e.attach("a")
		e.fill(device)
		e.snapshot("s", "a")
		if rest := e.status().LargestBytes; rest > 0 {
			e.make(e.spec("rest", rest))
		}
		e.fill(device)
		e.detach("a")
	}},
}

var copyTests = []test{
	{name: "a restored volume has the bytes of the snapshot's instant", snapshots: true, run: func(e *env) {
		e.create("a")
		e.write("a", "before", 4096)
		e.snapshot("s", "a")
		e.write("a", "after!", 4096)
		v := e.make(e.from(volume.FromSnapshot, "s", "b", 0))
		if v.Mark != volume.Used || v.Size != size || v.Source == nil || v.Source.ID != e.id("s") || v.Source.Kind != volume.FromSnapshot {
			e.Errorf("Create answered %+v", v)
		}
		e.holds("b", "before", 4096)
		e.write("b", "mine!!", 4096)
		e.holds("a", "after!", 4096)
		e.make(e.from(volume.FromSnapshot, "s", "c", 0))
		e.holds("c", "before", 4096)
	}},
	{name: "a clone has the bytes of its volume", snapshots: true, run: func(e *env) {
		e.create("a")
		e.write("a", "shared", 0)
		v := e.make(e.from(volume.FromVolume, "a", "b", size))
		if v.Mark != volume.Used || v.Source == nil || v.Source.Kind != volume.FromVolume {
			e.Errorf("Create answered %+v", v)
		}
		e.write("a", "mine!!", 0)
		e.holds("b", "shared", 0)
		e.ok("Delete", e.p.Delete(e.Context(), e.id("a")))
		e.holds("b", "shared", 0)
	}},
	{name: "an attached volume is cloned as it was synced", snapshots: true, run: func(e *env) {
		e.create("a")
		device := e.attach("a")
		e.writeDevice(device, "synced", 0)
		e.make(e.from(volume.FromVolume, "a", "b", size))
		e.writeDevice(device, "later!", 0)
		e.detach("a")
		e.holds("b", "synced", 0)
	}},
	{name: "a larger copy has zeros behind", snapshots: true, run: func(e *env) {
		e.create("a")
		e.write("a", "kept", size-4096)
		e.snapshot("s", "a")
		for name, spec := range map[string]volume.Spec{
			"b": e.from(volume.FromSnapshot, "s", "b", 2*size),
			"c": e.from(volume.FromVolume, "a", "c", 2*size),
		} {
			if v := e.make(spec); v.Size != 2*size {
				e.Errorf("%s has %d bytes", name, v.Size)
			}
			e.holds(name, "kept", size-4096)
		}
	}},
	{name: "a copy cannot be smaller than its source", snapshots: true, run: func(e *env) {
		e.create("a")
		e.snapshot("s", "a")
		spec := e.from(volume.FromSnapshot, "s", "b", 0)
		spec.Size.LimitBytes = size / 2
		_, err := e.p.Create(e.Context(), spec)
		e.is("Create", err, volume.OutOfRange)
		if v := e.make(e.from(volume.FromSnapshot, "s", "c", size/2)); v.Size != size {
			e.Errorf("without a limit it has %d bytes", v.Size)
		}
	}},
	{name: "a source that is not there is NotFound and leaves nothing", snapshots: true, run: func(e *env) {
		for _, kind := range []volume.SourceKind{volume.FromSnapshot, volume.FromVolume} {
			_, err := e.p.Create(e.Context(), e.from(kind, "nobody", "b", size))
			e.is("Create from "+string(kind), err, volume.NotFound)
		}
		if names := e.names(); len(names) != 0 {
			e.Errorf("List answered %v", names)
		}
	}},
	{name: "made again it is the same copy, also when its source is gone", snapshots: true, run: func(e *env) {
		e.create("a")
		e.snapshot("s", "a")
		first := e.make(e.from(volume.FromSnapshot, "s", "b", 0))
		e.write("b", "mine", 0)
		e.ok("DeleteSnapshot", e.s.DeleteSnapshot(e.Context(), e.id("s")))
		again := e.make(e.from(volume.FromSnapshot, "s", "b", 0))
		if !first.Created.Equal(again.Created) {
			e.Errorf("the first Create answered %+v, the second %+v", first, again)
		}
		e.holds("b", "mine", 0)
	}},
	{name: "a snapshot outlives its volume", snapshots: true, run: func(e *env) {
		e.create("a")
		e.write("a", "kept", 0)
		e.snapshot("s", "a")
		if err := e.p.Delete(e.Context(), e.id("a")); err != nil {
			e.is("Delete", err, volume.InUse)
			e.holds("a", "kept", 0)
			return
		}
		s, err := e.s.GetSnapshot(e.Context(), e.id("s"))
		e.ok("GetSnapshot", err)
		if s.Volume != e.id("a") {
			e.Errorf("GetSnapshot answered %+v", s)
		}
		e.make(e.from(volume.FromSnapshot, "s", "b", 0))
		e.holds("b", "kept", 0)
	}},
	{name: "a copy can be expanded and copied again", snapshots: true, run: func(e *env) {
		e.create("a")
		e.write("a", "kept", 0)
		e.make(e.from(volume.FromVolume, "a", "b", size))
		_, err := e.p.Expand(e.Context(), e.id("b"), atLeast(2*size))
		e.ok("Expand", err)
		e.make(e.from(volume.FromVolume, "b", "c", 0))
		e.holds("c", "kept", 0)
	}},
}

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
