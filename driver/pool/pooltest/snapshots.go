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
	{name: "a volume with a snapshot grows, or is refused and stays as it is", snapshots: true, run: func(e *env) {
		e.create("a")
		e.write("a", "old", 0)
		e.snapshot("s", "a")
		want := 2 * size
		if _, err := e.p.Expand(e.Context(), e.id("a"), atLeast(want)); err != nil {
			e.is("Expand", err, volume.InUse)
			want = size
		}
		if got := e.get("a").Size; got != want {
			e.Errorf("it has %d bytes, want %d", got, want)
		}
		e.write("a", "new", 0)
		if v := e.make(e.from(volume.FromSnapshot, "s", "b", 0)); v.Size != size {
			e.Errorf("restored it has %d bytes", v.Size)
		}
		e.holds("b", "old", 0)
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
