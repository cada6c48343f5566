package fleet

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever nodes have, make, lose and say: those that hold a name are those that looking at each of them finds.
func TestHoldersAreAllThatHoldAName(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	x := newNames()
	some := func() thing { return thing{snapshot: r.IntN(2) == 0, name: fmt.Sprint("v", r.IntN(12))} }
	var all []*contents
	for i := range 8 {
		all = append(all, newContents(fmt.Sprint("n", i), x))
	}
	gone := map[*contents]bool{}
	for range 5000 {
		c := all[r.IntN(len(all))]
		switch r.IntN(5) {
		case 0:
			c.note(some(), []string{"", "fast"}[r.IntN(2)])
		case 1:
			said := newTold()
			for range r.IntN(6) {
				said.has[some()] = "fast"
				said.making[some().name] = true
			}
			if r.IntN(3) == 0 {
				said.unreadable["fast"] = "its disk is away"
			}
			l := c.begin()
			c.note(some(), []string{"", "slow"}[r.IntN(2)])
			if _, _, err := c.replace(l, said); err != nil {
				t.Fatal(err)
			}
		case 2:
			if r.IntN(400) == 0 {
				c.forget()
				gone[c] = true
			}
		default:
			which := some()
			want := ""
			for _, c := range all {
				if c.holds(which) && !gone[c] {
					want += c.node
				}
			}
			got := ""
			for _, c := range x.holders(which) {
				got += c.node
			}
			if got != want {
				t.Fatalf("seed %d: %v is on %s, found on %s", seed, which, want, got)
			}
		}
	}
	for _, c := range all {
		c.forget()
	}
	if len(x.first)+len(x.more)+len(x.hidden) != 0 {
		t.Errorf("seed %d: %d, %d and %d are left of nodes that are forgotten", seed, len(x.first), len(x.more), len(x.hidden))
	}
}

// Two names of a node may have the same hash. That one of them goes does not hide the other.
func TestNamesWithTheSameHashAreToldApart(t *testing.T) {
	x := newNames()
	c, other := newContents("a", x), newContents("b", x)
	one := aVolume("v")
	c.note(one, "fast")
	x.change(c, []thing{one}, nil) // as if it were another name
	other.note(one, "fast")
	x.change(c, nil, []thing{one})
	if got := x.holders(one); len(got) != 2 || got[0] != c || got[1] != other {
		t.Errorf("%d nodes hold it", len(got))
	}
}
