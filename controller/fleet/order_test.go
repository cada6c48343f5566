package fleet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// scan returns what take is to choose, by looking at each node.
func scan(c *capacities, k kind, bytes int64, nodes []*node, skip map[string]bool) *place {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of(k).bestOf(nodes, bytes, skip)
}

// randomCapacity returns what a node could say; of few sizes, so that many are equal.
func randomCapacity(r *rand.Rand) capacity {
	available := r.Int64N(20)
	switch r.IntN(8) {
	case 0:
		return capacity{lacks: true}
	case 1:
		return capacity{silent: true}
	case 2:
		return capacity{available: available, largest: r.Int64N(available + 1)}
	}
	return capacity{available: available, largest: available}
}

// Whatever nodes say, come, go and make: the node that is chosen is the one that looking at each of them finds.
func TestNodeThatIsChosenIsTheBestOfAll(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	kinds := []kind{{key: "a"}, {key: "b", pool: "fast"}, {key: "c", pool: "fast"}}
	chosen := 0
	for range 30 {
		c := newCapacities()
		var nodes []*node
		var making []func(bool)
		for step := range 400 {
			k := kinds[r.IntN(len(kinds))]
			switch what := r.IntN(12); {
			case what == 0 || len(nodes) < 3:
				nodes = append(nodes, &node{name: fmt.Sprintf("n%05d-%d", r.IntN(100_000), step)})
				c.add(nodes[len(nodes)-1])
				slices.SortFunc(nodes, func(a, b *node) int { return strings.Compare(a.name, b.name) })
			case what == 1 && r.IntN(4) == 0:
				i := r.IntN(len(nodes))
				c.remove(nodes[i])
				nodes = slices.Delete(nodes, i, i+1)
			case what < 6:
				c.said(nodes[r.IntN(len(nodes))], k, randomCapacity(r), time.Now())
			case what == 6 && len(making) > 0:
				i := r.IntN(len(making))
				making[i](r.IntN(3) > 0)
				making = slices.Delete(making, i, i+1)
			case what == 7:
				making = append(making, c.reserve(nodes[r.IntN(len(nodes))], k, 1+r.Int64N(5)))
			default:
				skip := map[string]bool{}
				for range r.IntN(4) {
					skip[nodes[r.IntN(len(nodes))].name] = true
				}
				bytes := 1 + r.Int64N(22)
				want := scan(c, k, bytes, nodes, skip)
				n, fits, lacks, done := c.take(k, bytes, nil, skip, true)
				switch {
				case want == nil || want.now.lacks:
					if n != nil || (lacks == nil) != (want == nil) {
						t.Fatalf("seed %d: chose %v, %v where there is none", seed, n, lacks)
					}
				case n != want.node || lacks != nil:
					t.Fatalf("seed %d: for %d bytes it chose %v, and %s comes first with %+v", seed, bytes, n, want.node.name, want.said)
				default:
					chosen++
					if fits && len(making) < 50 {
						making = append(making, done)
					} else {
						done(false)
					}
				}
			}
		}
	}
	if chosen < 1000 {
		t.Errorf("only %d were chosen", chosen)
	}
}

// Nodes that say what they like, such as more and more each time, do not make a choice slower.
func TestOrderStaysBalanced(t *testing.T) {
	const nodes = 5000
	var o order
	for i := range int64(nodes) {
		o.insert(&place{node: &node{name: fmt.Sprintf("n%d", i)}, now: capacity{available: i, largest: i % 7}})
	}
	count, deep := 0, 0
	var walk func(p *place, depth int)
	walk = func(p *place, depth int) {
		if p == nil {
			return
		}
		count, deep = count+1, max(deep, depth)
		walk(p.left, depth+1)
		walk(p.right, depth+1)
	}
	walk(o.root, 1)
	if count != nodes || deep > 80 { // 28 or so; the chance of 80 is far below that of a broken processor
		t.Errorf("%d places, %d deep", count, deep)
	}
}

func TestAgesFindTheEarliest(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	a, want, began := newAges(), map[*node]time.Time{}, time.Now()
	nodes := make([]*node, 100)
	for i := range nodes {
		nodes[i] = &node{name: fmt.Sprint(i)}
	}
	for range 5000 {
		n, at := nodes[r.IntN(len(nodes))], began.Add(time.Duration(r.IntN(50))*time.Second)
		switch r.IntN(4) {
		case 0:
			a.remove(n)
			delete(want, n)
		case 1:
			earlier := 0
			for _, t := range want {
				if t.Before(at) {
					earlier++
				}
			}
			found := a.before(at, 0)
			for _, n := range found {
				if !want[n].Before(at) || want[n].IsZero() {
					t.Fatalf("seed %d: node %s is not before", seed, n.name)
				}
			}
			if len(found) != earlier {
				t.Fatalf("seed %d: %d are before, and %d were found", seed, earlier, len(found))
			}
			if first := a.before(at, 1); len(first) > 1 || (len(first) == 0) != (earlier == 0) {
				t.Fatalf("seed %d: %d instead of one", seed, len(first))
			}
		default:
			a.add(n, at)
			want[n] = at
		}
	}
}
