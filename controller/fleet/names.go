package fleet

import (
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync"
)

// names finds the nodes that are known to hold a thing without asking each of them. It keeps hashes, which are a tenth of what the
// names would be; what it finds may be wrong, then, and misses none that has one.
type names struct {
	seed maphash.Seed // a new one each time: no node can choose names that fall together

	mu     sync.Mutex
	first  map[uint64]*contents
	more   map[uint64][]*contents // where there are several, which is rare: those behind the first one
	hidden map[*contents]bool     // those with pools that cannot be read
}

func newNames() *names {
	return &names{seed: maphash.MakeSeed(), first: map[uint64]*contents{}, more: map[uint64][]*contents{}, hidden: map[*contents]bool{}}
}

// change notes what has come to a node, none of which it had, and what has gone.
func (x *names) change(c *contents, came, went []thing) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, t := range came {
		hash := maphash.Comparable(x.seed, t)
		if x.first[hash] == nil {
			x.first[hash] = c
		} else {
			x.more[hash] = append(x.more[hash], c)
		}
	}
	for _, t := range went {
		x.drop(maphash.Comparable(x.seed, t), c)
	}
}

// drop takes one out. The same contents may be there several times, for things with the same hash.
func (x *names) drop(hash uint64, c *contents) {
	others := x.more[hash]
	switch i := slices.Index(others, c); {
	case i >= 0:
		others = slices.Delete(others, i, i+1)
	case x.first[hash] != c:
		return
	case len(others) > 0:
		x.first[hash] = others[0]
		others = slices.Delete(others, 0, 1)
	default:
		delete(x.first, hash)
	}
	if x.more[hash] = others; len(others) == 0 {
		delete(x.more, hash)
	}
}

// holders returns who holds a thing, in the order of the names of the nodes.
func (x *names) holders(t thing) []*contents {
	hash := maphash.Comparable(x.seed, t)
	x.mu.Lock()
	var found []*contents
	if c := x.first[hash]; c != nil {
		found = append(append(found, c), x.more[hash]...)
	}
	x.mu.Unlock()
	return sorted(slices.DeleteFunc(found, func(c *contents) bool { return !c.holds(t) }))
}

// unreadable notes whether there are pools of a node that cannot be read.
func (x *names) unreadable(c *contents, any bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if any {
		x.hidden[c] = true
	} else {
		delete(x.hidden, c)
	}
}

// withUnreadable returns those that have such pools, in the order of the names of the nodes.
func (x *names) withUnreadable() []*contents {
	x.mu.Lock()
	defer x.mu.Unlock()
	return sorted(slices.Collect(maps.Keys(x.hidden)))
}

func sorted(all []*contents) []*contents {
	slices.SortFunc(all, func(a, b *contents) int { return strings.Compare(a.node, b.node) })
	return slices.Compact(all)
}
