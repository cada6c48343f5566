package pooltest

import (
	"github.com/loam-storage/loam/driver/volume"
)

var markTests = []test{
	{name: "every mark can become block, which is kept", run: func(e *env) {
		for name, before := range map[string][]volume.Mark{
			"a": nil, "b": {volume.Formatting}, "c": {volume.Used}, "d": {volume.Formatting, volume.Used},
		} {
			e.create(name)
			for _, mark := range before {
				e.ok("Mark", e.p.Mark(e.Context(), e.id(name), mark))
			}
			e.attach(name)
			e.marks(name, volume.Block)
			e.detach(name)
			_, err := e.p.Expand(e.Context(), e.id(name), atLeast(2*size))
			e.ok("Expand", err)
			if v := e.get(name); v.Mark != volume.Block {
				e.Errorf("%s, expanded, is marked %s", name, v.Mark)
			}
		}
		volumes, err := e.p.List(e.Context(), "", 0)
		e.ok("List", err)
		for _, v := range volumes {
			if v.Mark != volume.Block {
				e.Errorf("%s is listed with the mark %s", v.ID, v.Mark)
			}
		}
	}},
	{name: "copies of a block one are block, through snapshots, groups and copies of them, and also when it is gone", snapshots: true, run: func(e *env) {
		e.create("a")
		e.marks("a", volume.Block)
		e.snapshot("s", "a")
		e.create("other")
		group := e.group("g", "other", "a")
		e.make(e.from(volume.FromSnapshot, "s", "restored", 0))
		e.make(e.from(volume.FromVolume, "a", "clone", 0))
		e.make(e.from(volume.FromVolume, "clone", "larger", 2*size))
		e.snapshot("s2", "clone")
		e.make(e.from(volume.FromSnapshot, "s2", "again", 2*size))
		for i, want := range []volume.Mark{volume.Used, volume.Block} {
			if group[i].Mark != want {
				e.Errorf("of the group, the snapshot of %s is marked %s; want %s", group[i].Volume, group[i].Mark, want)
			}
			spec := e.spec("member-"+string(want), 0)
			spec.Source = &volume.Source{Kind: volume.FromSnapshot, ID: group[i].ID}
			if v := e.make(spec); v.Mark != want {
				e.Errorf("restored from the group, %s is marked %s", v.ID, v.Mark)
			}
		}
		for _, name := range []string{"restored", "clone", "larger", "again"} {
			if v := e.get(name); v.Mark != volume.Block {
				e.Errorf("%s is marked %s", name, v.Mark)
			}
		}
		for _, name := range []string{"s", "s2"} {
			if s, err := e.snapshotter().GetSnapshot(e.Context(), e.id(name)); err != nil || s.Mark != volume.Block {
				e.Errorf("snapshot %s is marked %s, %v", name, s.Mark, err)
			}
		}
	}},
	{name: "block is found again, of a volume, its snapshot and its clone", snapshots: true, reopens: true, run: func(e *env) {
		e.create("a")
		e.marks("a", volume.Block)
		e.snapshot("s", "a")
		e.make(e.from(volume.FromVolume, "a", "clone", 0))
		e.p = e.o.Reopen(e.T, e.p)
		e.s = e.snapshotter()
		s, err := e.s.GetSnapshot(e.Context(), e.id("s"))
		e.ok("GetSnapshot", err)
		if a, clone := e.get("a"), e.get("clone"); a.Mark != volume.Block || clone.Mark != volume.Block || s.Mark != volume.Block {
			e.Errorf("the volume is marked %s, its clone %s, its snapshot %s", a.Mark, clone.Mark, s.Mark)
		}
	}},
	{name: "a snapshot and a clone have the mark of their instant", snapshots: true, run: func(e *env) {
		e.create("a")
		e.marks("a", volume.Used)
		if s := e.snapshot("s", "a"); s.Mark != volume.Used {
			e.Errorf("the snapshot is marked %s", s.Mark)
		}
		e.make(e.from(volume.FromVolume, "a", "clone", 0))
		e.marks("a", volume.Block)
		v := e.make(e.from(volume.FromSnapshot, "s", "restored", 0))
		if clone := e.get("clone"); v.Mark != volume.Used || clone.Mark != volume.Used {
			e.Errorf("from before, the restored volume is marked %s and the clone %s", v.Mark, clone.Mark)
		}
	}},
}

// marks moves the mark of a volume, and wants to see it.
func (e *env) marks(name string, mark volume.Mark) {
	e.Helper()
	e.ok("Mark", e.p.Mark(e.Context(), e.id(name), mark))
	if v := e.get(name); v.Mark != mark {
		e.Fatalf("%s is marked %s; want %s", name, v.Mark, mark)
	}
}
