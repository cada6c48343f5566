package crash_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/scratch"
)

// The machine is started again after each cut, with the number of the start and how many cuts there will be.
const (
	bootVariable = "LOAM_TEST_BOOT"
	cutsVariable = "LOAM_TEST_CUTS"
)

// cutReady is what the test prints when a power cut is welcome.
const cutReady = "ready for the power cut"

// TestPowerCut makes calls over LVM pools until the machine loses its power in the middle of one, again and
// again. The machine then has what is on its disks and nothing else: every volume must be there as a whole, or
// not at all, nothing may be left over, and the call that was cut off must end well when it is repeated. What had
// been acknowledged is known from a journal on a disk of its own, from which the model is made anew.
func TestPowerCut(t *testing.T) {
	boot, _ := strconv.Atoi(os.Getenv(bootVariable))
	cuts, _ := strconv.Atoi(os.Getenv(cutsVariable))
	if boot == 0 || cuts == 0 {
		t.Skip("needs a machine whose power is cut: make test-lvm runs it in one")
	}
	disks := scratch.Disks(t, lvmDisks)[:lvmDisks]
	// Beside the temporary directory, which every start has a new one of.
	dir := filepath.Join(filepath.Dir(os.TempDir()), "loam-power-cut")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c := &cutRun{cuts: cuts, boot: boot, inFlight: map[string]int{}}
	var past []entry
	var err error
	if c.journal, past, err = openJournal(filepath.Join(dir, "journal")); err != nil {
		t.Fatal(err)
	}
	if len(past) == 0 {
		c.first(t, dir, disks)
	} else {
		c.next(t, dir, past)
	}
	if boot <= cuts {
		c.untilCut(t)
	}
	c.finish(t, dir, disks)
}

// cutRun is a run over all starts of the machine.
type cutRun struct {
	*run
	journal    journal
	boot, cuts int
	free       map[string]volume.Size
	choose     *chooser

	acknowledged int            // calls
	written      int            // contents
	inFlight     map[string]int // calls that were cut off, by kind
	between      int            // cuts between two calls
}

func (c *cutRun) ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n\nstart %d of %d, -crash.seed=%d\n%s", err, c.boot, c.cuts+1, c.seed, c.story())
	}
}

// first makes the volume group, starts the driver and begins the journal.
func (c *cutRun) first(t *testing.T, dir string, disks []string) {
	t.Helper()
	if err := makeThinPool(disks); err != nil {
		t.Fatal(err)
	}
	chosenBy := *seed
	if chosenBy == 0 {
		chosenBy = rand.Uint64()
	}
	c.run = newRunIn(t, onLVM{}, chosenBy, dir)
	c.ok(t, c.start(0))
	var err error
	c.free, err = c.run.free()
	c.ok(t, err)
	c.ok(t, c.journal.add(entry{Seed: chosenBy, Free: c.free}))
	c.begin(t)
}

// begin says that what follows is chosen anew, and may be cut off.
func (c *cutRun) begin(t *testing.T) {
	t.Helper()
	c.ok(t, c.journal.add(entry{Boot: c.boot}))
	c.choose = c.chooserOf(c.boot, true)
}

func (c *cutRun) chooserOf(boot int, ext4 bool) *chooser {
	return &chooser{from: lasting, random: rand.New(rand.NewPCG(c.seed, uint64(boot))), ext4: ext4}
}

// untilCut makes calls until the machine is gone.
func (c *cutRun) untilCut(t *testing.T) {
	t.Helper()
	fmt.Println(cutReady)
	const most = 200 // calls, far more than are made until then
	for range most {
		c.choose.model = c.model
		if v, number, ok := c.nextWrite(); ok {
			c.ok(t, c.journal.add(entry{Write: number}))
			c.ok(t, c.write(v, number, true))
			c.ok(t, c.journal.add(entry{Done: true}))
		}
		o := c.choose.next()
		c.ok(t, c.journal.add(entry{Call: o.text}))
		c.ok(t, c.call(o))
		c.ok(t, c.journal.add(entry{Done: true}))
		c.ok(t, perhaps(o.tidy))
	}
	t.Fatalf("the power was not cut within %d calls", most)
}

// call makes a call until it ends, and looks at nothing else: nearly all the time is spent in calls.
func (c *cutRun) call(o operation) error {
	c.note("%s", o.text)
	if err := perhaps(o.prepare); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
		s, err := c.send(o, 0)
		switch {
		case err != nil:
			return err
		case status.Code(s.err) == o.want:
			after := c.model.clone()
			o.change(after)
			c.model = after
			return nil
		case !again(s.err) || time.Now().After(deadline):
			return fmt.Errorf("%s ended with %w", o.text, s.err)
		}
	}
}

func (c *cutRun) nextWrite() (v vol, number uint64, ok bool) {
	if !c.choose.chance(writePercent) {
		return v, 0, false
	}
	if v, ok = c.choose.toWrite(); ok {
		c.number++
	}
	return v, c.number, ok
}

// next settles what was open when the power went.
func (c *cutRun) next(t *testing.T, dir string, past []entry) {
	t.Helper()
	c.run = newRunIn(t, onLVM{}, past[0].Seed, dir)
	c.free = past[0].Free
	open, err := c.replay(past[1:])
	c.ok(t, err)
	before := c.model
	after := before.clone()
	if open != nil {
		open.change(after)
	}
	before.lose()
	after.lose()
	c.ok(t, c.emptied("staging", "pods"))
	c.ok(t, c.start(0))
	missing := []string(nil)
	if open != nil {
		missing = open.missing
	}
	c.ok(t, c.compare("after the power came back", before.state(), after.state(), missing))
	c.ok(t, c.settle(open, func(o operation) error { return c.carryOut(o, 0) }))
	c.begin(t)
}

// emptied has empty directories where mounts were before.
func (c *cutRun) emptied(names ...string) error {
	for _, name := range names {
		dir := filepath.Join(c.dir, name)
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if err := os.Mkdir(dir, 0o750); err != nil {
			return err
		}
	}
	return nil
}

// settle does what an orchestrator does when its machine is back: it repeats the call that was cut off, as
// far as that makes sense on a machine that has nothing attached, and takes away what pods had for themselves.
func (c *cutRun) settle(open *operation, do func(operation) error) error {
	if open != nil && open.want == codes.OK {
		again, ok := c.again(*open)
		if ok {
			if err := do(again); err != nil {
				return err
			}
		}
	}
	for _, v := range c.model.those(func(v vol) bool { return v.inline != "" }) {
		target := filepath.Join(targetsDir(c.dir), "gone")
		if len(v.targets) > 0 {
			target = slices.Sorted(maps.Keys(v.targets))[0]
		}
		if err := do(c.model.unpublish(v, target)); err != nil {
			return err
		}
	}
	return nil
}

// again returns the call as it is made on a machine that has just started.
func (c *cutRun) again(o operation) (operation, bool) {
	o.freezes, o.missing = nil, nil
	switch o.kind {
	case "CreateVolume", "DeleteVolume", "ControllerExpandVolume", "CreateSnapshot", "DeleteSnapshot", "CreateVolumeGroupSnapshot", "DeleteVolumeGroupSnapshot":
		return o, true
	case "NodeStageVolume":
		return c.model.stage(c.model.volumes[o.examine], false), true
	case "NodePublishVolume":
		return o, strings.Contains(o.like, "inline")
	}
	return o, false
}

// lose is what a loss of power does to a machine: nothing is attached or mounted any more.
func (m *model) lose() {
	for handle := range m.volumes {
		m.change(handle, func(v *vol) {
			detached(v)
			v.staging, v.stagedReadOnly, v.targets = "", false, nil
		})
	}
}

// replay makes the model of what the journal says was acknowledged, start by start, and returns the call that
// was cut off last, if one was.
func (c *cutRun) replay(entries []entry) (open *operation, err error) {
	for len(entries) > 0 {
		boot, rest := entries[0].Boot, entries[1:]
		if boot > 1 {
			c.model.lose()
			if err := c.settle(open, func(o operation) error { o.change(c.model); return nil }); err != nil {
				return nil, err
			}
		}
		n := slices.IndexFunc(rest, func(e entry) bool { return e.Boot > 0 })
		if n < 0 {
			n = len(rest)
		}
		c.choose = c.chooserOf(boot, true)
		if open, err = c.replayStart(rest[:n]); err != nil {
			return nil, fmt.Errorf("start %d in the journal: %w", boot, err)
		}
		if open == nil {
			c.between++
		} else {
			c.inFlight[open.kind+further(*open)]++
		}
		entries = rest[n:]
	}
	return open, nil
}

// replayStart chooses what was chosen since the machine was started, and changes the model as it did.
func (c *cutRun) replayStart(entries []entry) (open *operation, err error) {
	for i := 0; i < len(entries); i += 2 {
		acknowledged := func() bool { return i+1 < len(entries) && entries[i+1].Done }
		c.choose.model = c.model
		if v, number, ok := c.nextWrite(); ok {
			if entries[i].Write != number {
				return nil, fmt.Errorf("%+v, and content %d is chosen", entries[i], number)
			}
			if !acknowledged() {
				c.model.change(v.handle, func(v *vol) { v.data.torn = number })
				return nil, nil
			}
			c.model.change(v.handle, func(v *vol) { v.data.written, v.data.torn = number, 0 })
			c.written++
			if i += 2; i == len(entries) {
				return nil, nil
			}
		}
		o := c.choose.next()
		switch {
		case entries[i].Call != o.text:
			return nil, fmt.Errorf("%+v, and %q is chosen", entries[i], o.text)
		case !acknowledged():
			return &o, nil
		}
		o.change(c.model)
		c.acknowledged++
	}
	return nil, nil
}

// further tells a staging that makes a file system from others, and copies from what is new.
func further(o operation) string {
	switch {
	case o.kind == "NodeStageVolume" && strings.HasSuffix(o.like, "first"):
		return " with mkfs"
	case strings.HasPrefix(o.like, "restore"):
		return " from a snapshot"
	case strings.HasPrefix(o.like, "clone"):
		return " from a volume"
	}
	return ""
}

// finish reads all that was ever kept, removes it, and sees that nothing is left.
func (c *cutRun) finish(t *testing.T, dir string, disks []string) {
	t.Helper()
	c.ok(t, c.end(c.free))
	c.ok(t, c.unharmed())
	if err := scratch.RemoveVolumeGroup(crashGroup, disks...); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(c.inFlight)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", kind, c.inFlight[kind]))
	}
	t.Logf("count: power cut: %d cuts, %d of them between two calls or in a write, the others in: %s", c.cuts, c.between, strings.Join(kinds, ", "))
	t.Logf("count: power cut: %d calls and %d synced writes acknowledged before, lost %d, leaked %d", c.acknowledged, c.written, c.counts.lost, c.counts.leaked)
}
