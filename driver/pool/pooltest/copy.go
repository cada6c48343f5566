package pooltest

import (
	"sync"

	"github.com/loam-storage/loam/driver/volume"
)

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
	{name: "one snapshot is restored by several at the same time", snapshots: true, run: func(e *env) {
		e.create("a")
		e.write("a", "kept", 0)
		e.snapshot("s", "a")
		names := []string{"b", "c", "d"}
		var wait sync.WaitGroup
		for _, name := range names {
			wait.Go(func() {
				if _, err := e.p.Create(e.Context(), e.from(volume.FromSnapshot, "s", name, 0)); err != nil {
					e.Errorf("Create(%s): %v", name, err)
				}
			})
		}
		wait.Wait()
		if e.get("a").Attached() {
			e.Error("what was copied from is attached afterwards")
		}
		for _, name := range names {
			e.holds(name, "kept", 0)
		}
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
