package pooltest

import (
	"strings"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

var awayTests = []test{
	{name: "a pool that cannot be read says so of everything, and comes back", snapshots: true, run: func(e *env) {
		e.create("v")
		e.snapshot("s", "v")
		_, err := e.s.CreateSnapshot(e.Context(), volume.SnapshotSpec{ID: e.id("g"), Group: true, Volumes: []volume.ID{e.id("v")}})
		e.ok("CreateSnapshot of a group", err)
		back := e.o.Away(e.T)
		for what, err := range e.everything() {
			if !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), e.p.Name()) {
				e.Errorf("%s: got error %v of kind %s, want %s", what, err, volume.KindOf(err), volume.Unavailable)
			}
		}
		back()
		if v := e.get("v"); v.Damage != "" || v.Size != size {
			e.Errorf("when it is back: %+v", v)
		}
		e.ok("DeleteSnapshot", e.s.DeleteSnapshot(e.Context(), e.id("s")))
		e.ok("DeleteGroup", e.s.DeleteGroup(e.Context(), e.id("g")))
		e.ok("Delete", e.p.Delete(e.Context(), e.id("v")))
	}},
}

// everything makes each call that reads or changes what is in the pool.
func (e *env) everything() map[string]error {
	ctx, copied := e.Context(), e.spec("copied", 0)
	copied.Source = &volume.Source{Kind: volume.FromSnapshot, ID: e.id("s")}
	calls := map[string]error{
		"Delete":               e.p.Delete(ctx, e.id("v")),
		"Delete of another":    e.p.Delete(ctx, e.id("nosuch")),
		"Mark":                 e.p.Mark(ctx, e.id("v"), volume.Used),
		"DeleteSnapshot":       e.s.DeleteSnapshot(ctx, e.id("s")),
		"DeleteGroup":          e.s.DeleteGroup(ctx, e.id("g")),
		"ListSnapshots":        failed(e.s.ListSnapshots(ctx, "", 0)),
		"GetSnapshot":          failed(e.s.GetSnapshot(ctx, e.id("s"))),
		"GetGroup":             failed(e.s.GetGroup(ctx, e.id("g"))),
		"Status":               failed(e.p.Status(ctx)),
		"List":                 failed(e.p.List(ctx, "", 0)),
		"Get":                  failed(e.p.Get(ctx, e.id("v"))),
		"Get of another":       failed(e.p.Get(ctx, e.id("nosuch"))),
		"Create":               failed(e.p.Create(ctx, e.spec("new", size))),
		"Create of its name":   failed(e.p.Create(ctx, e.spec("v", size))),
		"restore":              failed(e.p.Create(ctx, copied)),
		"Expand":               failed(e.p.Expand(ctx, e.id("v"), atLeast(2*size))),
		"Attach":               failed(e.p.Attach(ctx, e.id("v"), false)),
		"CreateSnapshot":       failed(e.s.CreateSnapshot(ctx, volume.SnapshotSpec{ID: e.id("new"), Volumes: []volume.ID{e.id("v")}})),
		"CreateSnapshot again": failed(e.s.CreateSnapshot(ctx, volume.SnapshotSpec{ID: e.id("s"), Volumes: []volume.ID{e.id("v")}})),
	}
	if losable, can := e.p.(pool.Losable); can && losable.Lost() == nil {
		e.Error("Lost says that it is at its place")
	}
	return calls
}

func failed[T any](_ T, err error) error { return err }
