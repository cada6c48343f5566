package fleet

import (
	"maps"
	"slices"
	"testing"
)

// A node may say what it had before a call changed it, after that call has ended.
func TestWhatChangesWhileANodeIsAskedIsNotForgotten(t *testing.T) {
	c := newContents("a", newNames())
	c.note(aVolume("stays"), "fast")
	c.note(aVolume("goes"), "fast")
	asked := c.begin()
	c.note(aVolume("new"), "fast")
	c.note(aVolume("goes"), "")
	c.note(aSnapshot("new"), "fast")
	c.note(aSnapshot("others"), "")
	c.replace(asked, told{has: map[thing]string{aVolume("stays"): "fast", aVolume("goes"): "fast"}, making: map[string]bool{"new": true, "others": true}})
	for _, holds := range []thing{aVolume("stays"), aVolume("new"), aSnapshot("new"), aVolume("others")} { // a volume is none the less made for a snapshot of its name that goes
		if !c.holds(holds) {
			t.Errorf("%v is not known", holds)
		}
	}
	for _, lacks := range []thing{aVolume("goes"), aSnapshot("stays"), aSnapshot("others")} {
		if c.holds(lacks) {
			t.Errorf("%v is not there", lacks)
		}
	}
	if making := slices.Collect(maps.Keys(c.making)); len(making) != 1 {
		t.Errorf("being made: %q", making)
	}
	c.replace(c.begin(), newTold())
	if c.holds(aVolume("stays")) || c.holds(aVolume("others")) || len(c.listings) != 0 {
		t.Error("the node has nothing any more")
	}
}

func TestRoomThatFitsComesFirst(t *testing.T) {
	whole, pieces, empty := capacity{available: 50, largest: 50}, capacity{available: 100, largest: 10}, capacity{}
	silent := capacity{available: 1000, largest: 1000, silent: true}
	for _, c := range []struct {
		first, second capacity
		bytes         int64
	}{
		{whole, pieces, 40}, // the other one has more, and no piece large enough
		{pieces, whole, 5},  // both can
		{pieces, whole, 60}, // neither can
		{empty, silent, 5},  // it may have none at all
	} {
		if !c.first.before(c.second, c.bytes) || c.second.before(c.first, c.bytes) {
			t.Errorf("%+v is to come before %+v for %d bytes", c.first, c.second, c.bytes)
		}
	}
}
