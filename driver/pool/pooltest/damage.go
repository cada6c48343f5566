package pooltest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/volume"
)

// Damage is a way in which a volume or snapshot loses what its pool keeps of it beside its bytes.
type Damage struct {
	Name     string
	Volume   func(t *testing.T, id volume.ID) (mend func()) // nil: it does not befall volumes
	Snapshot func(t *testing.T, id volume.ID) (mend func()) // of one taken alone
}

var damageTests = []test{
	{name: "of a volume hides no other, and nothing is done with it", run: func(e *env) {
		for _, d := range e.o.Damages {
			if d.Volume != nil {
				e.Run(d.Name, func(t *testing.T) { e.with(t).damagedVolume(d) })
			}
		}
	}},
	{name: "of a volume lets its device be taken away", run: func(e *env) {
		for _, d := range e.o.Damages {
			if d.Volume != nil {
				e.Run(d.Name, func(t *testing.T) { e.with(t).damagedAndAttached(d) })
			}
		}
	}},
	{name: "of a snapshot hides no other, and nothing is done with it", snapshots: true, run: func(e *env) {
		for _, d := range e.o.Damages {
			if d.Snapshot != nil {
				e.Run(d.Name, func(t *testing.T) { e.with(t).damagedSnapshot(d) })
			}
		}
	}},
}

// with returns e for a test within its own.
func (e *env) with(t *testing.T) *env {
	inner := *e
	inner.T = t
	return &inner
}

// refusesDamaged fails the test unless each call is refused because the thing of that name is damaged.
func (e *env) refusesDamaged(name string, calls map[string]error) {
	e.Helper()
	for what, err := range calls {
		if !volume.Is(err, volume.InUse) || !strings.Contains(err.Error(), name) {
			e.Errorf("%s: got error %v of kind %s, want %s", what, err, volume.KindOf(err), volume.InUse)
		}
	}
}

// unhealthy fails the test unless the pool says that what has the name is damaged.
func (e *env) unhealthy(name string) {
	e.Helper()
	if s := e.status(); s.Healthy || !strings.Contains(s.Message, e.id(name).String()) || s.FreeBytes == 0 {
		e.Errorf("Status answered %+v", s)
	}
}

func (e *env) damagedVolume(d Damage) {
	for _, name := range []string{"a", "damaged", "z"} {
		e.create(name)
	}
	was := e.get("damaged")
	mend := d.Volume(e.T, e.id("damaged"))
	if names := e.names(); !slices.Equal(names, []string{"a", "damaged", "z"}) {
		e.Errorf("List has %q", names)
	}
	page, err := e.p.List(e.Context(), "a", 1)
	if err != nil || len(page) != 1 || page[0].ID != e.id("damaged") || page[0].Damage == "" || (page[0].Size != was.Size && page[0].Size != 0) {
		e.Errorf("a page of List: %+v, %v", page, err)
	}
	if v := e.get("damaged"); v.Damage == "" || v.Mark == volume.Fresh || v.Mark == volume.Formatting {
		e.Errorf("Get answered %+v", v)
	}
	if v := e.get("z"); v.Damage != "" {
		e.Errorf("Get of another one: %+v", v)
	}
	e.unhealthy("damaged")
	_, expand := e.p.Expand(e.Context(), e.id("damaged"), atLeast(2*size))
	_, attach := e.p.Attach(e.Context(), e.id("damaged"), false)
	_, create := e.p.Create(e.Context(), e.spec("damaged", size))
	calls := map[string]error{"Expand": expand, "Attach": attach, "Create": create, "Delete": e.p.Delete(e.Context(), e.id("damaged")),
		"Mark": e.p.Mark(e.Context(), e.id("damaged"), volume.Formatting)}
	if e.s != nil {
		copied := e.spec("copied", 0)
		copied.Source = &volume.Source{Kind: volume.FromVolume, ID: e.id("damaged")}
		_, calls["copy"] = e.p.Create(e.Context(), copied)
		_, calls["CreateSnapshot"] = e.s.CreateSnapshot(e.Context(), volume.SnapshotSpec{ID: e.id("s"), Volumes: []volume.ID{e.id("damaged")}})
	}
	e.refusesDamaged("damaged", calls)
	e.ok("Detach", e.p.Detach(e.Context(), e.id("damaged")))
	e.create("new")
	e.ok("Delete of another one", e.p.Delete(e.Context(), e.id("new")))
	mend()
	if v := e.get("damaged"); v.Damage != "" || v.Mark != was.Mark || v.Size != was.Size {
		e.Errorf("mended it is %+v, and was %+v", v, was)
	}
	if s := e.status(); !s.Healthy {
		e.Errorf("mended, Status answered %+v", s)
	}
	for _, name := range []string{"a", "damaged", "z"} {
		e.ok("Delete of "+name, e.p.Delete(e.Context(), e.id(name)))
	}
}

func (e *env) damagedAndAttached(d Damage) {
	e.create("damaged")
	device := e.attach("damaged")
	mend := d.Volume(e.T, e.id("damaged"))
	v := e.get("damaged")
	if v.Damage == "" {
		e.Errorf("Get answered %+v", v)
	}
	known := v.Device != ""
	if known && v.Device != device {
		e.Errorf("it is attached as %s, and Get says %s", device, v.Device)
	}
	if err := e.p.Delete(e.Context(), e.id("damaged")); !volume.Is(err, volume.InUse) {
		e.Errorf("Delete: %v", err)
	}
	if known { // else what it was attached as is lost with it, and is taken away by its own name
		e.detach("damaged")
		if v := e.get("damaged"); v.Attached() {
			e.Errorf("detached it is %+v", v)
		}
	}
	mend()
	e.detach("damaged")
	if _, err := os.Stat(device); err == nil && strings.HasPrefix(device, "/dev/mapper/") {
		e.Errorf("its device %s is there", device)
	}
	e.ok("Delete", e.p.Delete(e.Context(), e.id("damaged")))
}

func (e *env) damagedSnapshot(d Damage) {
	e.create("v")
	for _, name := range []string{"a", "damaged", "z"} {
		e.snapshot(name, "v")
	}
	mend := d.Snapshot(e.T, e.id("damaged"))
	if names := e.snapshotNames(); !slices.Equal(names, []string{"a", "damaged", "z"}) {
		e.Errorf("ListSnapshots has %q", names)
	}
	page, err := e.s.ListSnapshots(e.Context(), "a", 1)
	if err != nil || len(page) != 1 || page[0].ID != e.id("damaged") || page[0].Damage == "" {
		e.Errorf("a page of ListSnapshots: %+v, %v", page, err)
	}
	if s, err := e.s.GetSnapshot(e.Context(), e.id("damaged")); err != nil || s.Damage == "" {
		e.Errorf("GetSnapshot answered %+v, %v", s, err)
	}
	e.unhealthy("damaged")
	restored := e.spec("restored", 0)
	restored.Source = &volume.Source{Kind: volume.FromSnapshot, ID: e.id("damaged")}
	_, restore := e.p.Create(e.Context(), restored)
	_, again := e.s.CreateSnapshot(e.Context(), volume.SnapshotSpec{ID: e.id("damaged"), Volumes: []volume.ID{e.id("v")}})
	e.refusesDamaged("damaged", map[string]error{"restore": restore, "CreateSnapshot": again, "DeleteSnapshot": e.s.DeleteSnapshot(e.Context(), e.id("damaged"))})
	e.snapshot("new", "v")
	e.ok("DeleteSnapshot of another one", e.s.DeleteSnapshot(e.Context(), e.id("new")))
	mend()
	if s, err := e.s.GetSnapshot(e.Context(), e.id("damaged")); err != nil || s.Damage != "" || s.Volume != e.id("v") {
		e.Errorf("mended it is %+v, %v", s, err)
	}
	for _, name := range []string{"a", "damaged", "z"} {
		e.ok(fmt.Sprintf("DeleteSnapshot(%s)", name), e.s.DeleteSnapshot(e.Context(), e.id(name)))
	}
	e.ok("Delete", e.p.Delete(e.Context(), e.id("v")))
}
