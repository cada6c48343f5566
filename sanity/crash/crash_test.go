package crash_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
)

// TestCrash is what this package is for.
func TestCrash(t *testing.T) {
	hosttest.NeedsRoot(t)
	r := newRun(t, onLoop{})
	r.makeDisk(t)
	r.crash(t, *operations)
}

// crash makes calls, most of which are cut off, and then takes away all that they made.
func (r *run) crash(t *testing.T, operations int) {
	t.Helper()
	t.Logf("-crash.seed=%d", r.seed)
	defer func() { r.counts.print(t) }()
	fail := func(err error) {
		if err != nil {
			t.Fatalf("%v\n\nrepeat with -crash.seed=%d -crash.operations=%d\n%s", err, r.seed, operations, r.story())
		}
	}
	fail(r.start(0))
	fail(r.check(operation{text: "the first start"}))
	free, err := r.free()
	fail(err)
	c := &chooser{from: choices, random: rand.New(rand.NewPCG(r.seed, 0)), ext4: canGrowExt4(t), btrfsTwins: host.KernelFrom(6, 7)}
	for range operations {
		c.model = r.model
		if c.chance(writePercent) {
			fail(r.writeSomething(c))
		}
		o := c.next()
		r.counts.operations[o.kind]++
		fail(r.carryOut(o, killPercent))
	}
	fail(r.end(free))
	if operations >= 100 && r.counts.cutOff == 0 {
		t.Error("no call was cut off")
	}
	fail(r.unharmed())
}

// TestCrashWhileThePoolsAreMade kills the driver at its very first start.
func TestCrashWhileThePoolsAreMade(t *testing.T) {
	hosttest.NeedsRoot(t)
	took, killed := map[string]time.Duration{}, 0
	for range 1 + *operations/25 {
		r := newRun(t, onLoop{})
		r.took = took // an old pool starts sooner than a new one is made, so each learns for the next
		err := r.start(100)
		if err == nil {
			err = r.check(operation{text: "the driver was killed while it made its pools"})
		}
		if err == nil {
			err = errors.Join(r.stop(), r.unharmed())
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, r.story())
		}
		killed += r.counts.atStart
		if err := os.RemoveAll(r.dir); err != nil { // now, for a pool is large
			t.Fatal(err)
		}
	}
	t.Logf("count: crash: %d kills while the driver made its pools", killed)
}

func newRun(t *testing.T, where place) *run {
	t.Helper()
	chosenBy := *seed
	if chosenBy == 0 {
		chosenBy = rand.Uint64()
	}
	return newRunIn(t, where, chosenBy, t.TempDir())
}

func newRunIn(t *testing.T, where place, chosenBy uint64, dir string) *run {
	t.Helper()
	r := &run{
		seed: chosenBy,
		dir:  dir, machine: host.New(host.NewRunner()), instant: rand.New(rand.NewPCG(chosenBy, 1)),
		took: map[string]time.Duration{}, contents: digests{}, counts: counts{operations: map[string]int{}},
	}
	r.model = &model{dir: r.dir, where: where, volumes: map[string]vol{}, snapshots: map[string]snap{}}
	t.Cleanup(func() {
		if t.Failed() {
			r.sweep(t)
		}
	})
	for _, dir := range []string{"elsewhere", "staging", targetsDir("")} {
		if err := os.MkdirAll(filepath.Join(r.dir, dir), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.OpenFile(filepath.Join(r.dir, "log"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	r.log = log
	return r
}
