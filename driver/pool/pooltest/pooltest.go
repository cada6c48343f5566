// Package pooltest is the contract of driver/pool as a test suite. Every pool runs it in its own
// tests; what passes here may be put under the controller and node services.
package pooltest

import (
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// Room is how much a pool under test must at least hold, in bytes.
const Room = 192 * volume.MiB

// Options says how to get at the pool under test.
type Options struct {
	// New returns an empty pool that can hold at least Room bytes, and sees to it that nothing of it
	// is left after the test.
	New func(t *testing.T) pool.Pool
	// Reopen closes the pool and opens it again, as a restart does. Nil for a pool that does not
	// outlive its process.
	Reopen func(t *testing.T, p pool.Pool) pool.Pool
	// Node is the node of the pool's IDs.
	Node string
	// Slack is by how many bytes the free space may differ while the same volumes are there. A pool
	// on a file system cannot know how much of it the file system takes for itself.
	Slack volume.Size
	// Untried is for a pool whose machine has nothing to try mkfs on.
	Untried bool
	// Damages is what may befall a volume or snapshot of the pool. None: this pool keeps nothing that could be lost.
	Damages []Damage
	// Away has the pool not be at its place until back is called. Nil for one that cannot go away.
	Away func(t *testing.T) (back func())
	// Slow is for a pool that starts a process with each call: what is done over and over is done less often.
	Slow bool
}

// Run runs the suite.
func Run(t *testing.T, o Options) {
	groups := []struct {
		name  string
		tests []test
	}{
		{"create", createTests}, {"remove", removeTests}, {"attach", attachTests}, {"expand", expandTests},
		{"capacity", capacityTests}, {"snapshot", snapshotTests}, {"copy", copyTests}, {"group", groupTests},
		{"reopen", reopenTests}, {"block", blockTests}, {"mkfs", mkfsTests}, {"mark", markTests},
		{"damage", damageTests}, {"away", awayTests},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, test := range g.tests {
				t.Run(test.name, func(t *testing.T) {
					if test.reopens && o.Reopen == nil {
						t.Skip("this pool does not outlive its process")
					}
					if g.name == "mkfs" && o.Untried {
						t.Skip("this pool has nothing to try mkfs on")
					}
					if g.name == "away" && o.Away == nil {
						t.Skip("this pool cannot go away")
					}
					p := o.New(t)
					snapshots, _ := p.(pool.Snapshotter)
					if test.snapshots && snapshots == nil {
						t.Skip("this pool does not take snapshots")
					}
					test.run(&env{T: t, o: o, p: p, s: snapshots})
				})
			}
		})
	}
}

// test is one sentence of the contract.
type test struct {
	name      string
	snapshots bool // needs a Snapshotter
	reopens   bool // needs Options.Reopen
	run       func(e *env)
}

// env is what a test works with: the pool, and shorthand that fails the test where the pool does not
// do what it should.
type env struct {
	*testing.T
	o Options
	p pool.Pool
	s pool.Snapshotter
}

// often is how often to do something.
func (e *env) often(times, slow int) int {
	if e.o.Slow {
		return slow
	}
	return times
}

const size = 8 * volume.MiB

func (e *env) id(name string) volume.ID {
	return volume.ID{Node: e.o.Node, Pool: e.p.Name(), Name: name}
}

func (e *env) spec(name string, bytes volume.Size) volume.Spec {
	return volume.Spec{ID: e.id(name), Size: volume.Range{RequiredBytes: bytes}}
}

func atLeast(bytes volume.Size) volume.Range { return volume.Range{RequiredBytes: bytes} }

func (e *env) create(name string) volume.Volume { return e.make(e.spec(name, size)) }

func (e *env) make(spec volume.Spec) volume.Volume {
	e.Helper()
	v, err := e.p.Create(e.Context(), spec)
	if err != nil {
		e.Fatalf("Create(%s): %v", spec.ID.Name, err)
	}
	return v
}

func (e *env) get(name string) volume.Volume {
	e.Helper()
	v, err := e.p.Get(e.Context(), e.id(name))
	if err != nil {
		e.Fatalf("Get(%s): %v", name, err)
	}
	return v
}

func (e *env) attach(name string) string {
	e.Helper()
	device, err := e.p.Attach(e.Context(), e.id(name), false)
	if err != nil {
		e.Fatalf("Attach(%s): %v", name, err)
	}
	return device
}

func (e *env) detach(name string) {
	e.Helper()
	e.ok("Detach("+name+")", e.p.Detach(e.Context(), e.id(name)))
}

func (e *env) status() volume.PoolStatus {
	e.Helper()
	status, err := e.p.Status(e.Context())
	e.ok("Status", err)
	return status
}

// free fails the test unless as much is free as there was. A file system with slack may be still
// tidying up; it gets a moment.
func (e *env) free(before volume.Size) {
	e.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		now := e.status().FreeBytes
		switch {
		case max(now-before, before-now) <= e.o.Slack:
			return
		case e.o.Slack == 0 || time.Now().After(deadline):
			e.Fatalf("%d bytes are free, %d were", now, before)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (e *env) names() []string {
	e.Helper()
	volumes, err := e.p.List(e.Context(), "", 0)
	e.ok("List", err)
	names := []string{}
	for _, v := range volumes {
		names = append(names, v.ID.Name)
	}
	return names
}

func (e *env) snapshotNames() []string {
	e.Helper()
	snapshots, err := e.s.ListSnapshots(e.Context(), "", 0)
	e.ok("ListSnapshots", err)
	names := []string{}
	for _, s := range snapshots {
		names = append(names, s.ID.Name)
	}
	return names
}

func (e *env) ok(what string, err error) {
	e.Helper()
	if err != nil {
		e.Fatalf("%s: %v", what, err)
	}
}

// is fails the test unless err has the kind and says something.
func (e *env) is(what string, err error, kind volume.Kind) {
	e.Helper()
	if err == nil || volume.KindOf(err) != kind || err.Error() == "" {
		e.Fatalf("%s: got error %v of kind %s, want %s", what, err, volume.KindOf(err), kind)
	}
}
