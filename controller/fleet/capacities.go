package fleet

import (
	"math"
	"sync"
	"time"
)

// capacities is how much room each node that is connected has, for each kind of volume that was asked for, with what is being made
// counted as made. What changes at one node is changed in place, so that to choose a node does not take longer among many.
type capacities struct {
	mu       sync.Mutex
	inFlight map[*node]map[string]int64 // bytes of volumes being made, by the pool asked for; an entry for each node
	kinds    map[string]*ranking
}

// ranking is the nodes that volumes of one kind can be made on.
type ranking struct {
	kind   kind
	places map[*node]*place
	order  order
	due    ages // when each node is to be asked
	used   time.Time
}

func newCapacities() *capacities {
	return &capacities{inFlight: map[*node]map[string]int64{}, kinds: map[string]*ranking{}}
}

// maxKinds bounds what is remembered of nodes. There are as many kinds as storage classes.
const maxKinds = 32

// add takes in a node that has connected. How much room it has is to be asked.
func (c *capacities) add(n *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight[n] = map[string]int64{}
	for _, r := range c.kinds {
		r.add(n)
	}
}

// remove takes out a node that has left.
func (c *capacities) remove(n *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.inFlight, n)
	for _, r := range c.kinds {
		if p := r.places[n]; p != nil {
			r.order.remove(p)
			r.due.remove(n)
			delete(r.places, n)
		}
	}
}

// of returns the ranking of a kind; where there are too many, that which was not used for the longest time goes. The caller holds mu.
func (c *capacities) of(k kind) *ranking {
	now := time.Now()
	if r := c.kinds[k.key]; r != nil {
		r.used = now
		return r
	}
	if len(c.kinds) >= maxKinds {
		var last *ranking
		for _, r := range c.kinds {
			if last == nil || r.used.Before(last.used) {
				last = r
			}
		}
		delete(c.kinds, last.kind.key)
	}
	r := &ranking{kind: k, places: map[*node]*place{}, due: newAges(), used: now}
	for n, inFlight := range c.inFlight {
		r.add(n)
		r.change(r.places[n], capacity{silent: true}, inFlight)
	}
	c.kinds[k.key] = r
	return r
}

func (r *ranking) add(n *node) {
	p := &place{node: n, said: capacity{silent: true}, now: capacity{silent: true}}
	r.places[n] = p
	r.order.insert(p)
	r.due.add(n, time.Time{})
}

// change puts a node where it belongs by what is known of it, with so many bytes in flight in each pool.
func (r *ranking) change(p *place, said capacity, inFlight map[string]int64) {
	r.order.remove(p)
	p.said, p.now = said, said
	p.now.available -= inFlight[r.kind.pool]
	r.order.insert(p)
}

// room returns what is known of a node's room, volumes that are being made taken off.
func (c *capacities) room(n *node, k kind) capacity {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.of(k).places[n]; p != nil {
		return p.now
	}
	return capacity{silent: true}
}

// take chooses the node that a volume is best made on, of the given ones or of all where those are nil, but for those to skip, and sets
// the room for it aside until done is called with whether it was made. There is none where all that are left have no pool for such
// volumes: lacks is one of these; nor, unless full ones are wanted too, where it fits on none. Two creates at once never see the same
// room.
func (c *capacities) take(k kind, bytes int64, of []*node, skip map[string]bool, fullToo bool) (n *node, fits bool, lacks *node, done func(made bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.of(k)
	var best *place
	if of == nil {
		if best = r.order.first(bytes, skip); best == nil {
			best = r.order.first(math.MinInt64, skip)
		}
	} else {
		best = r.bestOf(of, bytes, skip)
	}
	switch {
	case best == nil:
		return nil, false, nil, nil
	case best.now.lacks:
		return nil, false, best.node, nil
	}
	if fits = best.now.fits(bytes); !fits && !fullToo {
		return nil, false, nil, nil
	}
	return best.node, fits, nil, c.setAside(best.node, k, bytes)
}

// anyHas reports whether a node has said that it has a pool for such volumes.
func (c *capacities) anyHas(k kind) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.of(k).order.first(math.MinInt64, nil)
	return first != nil && !first.now.lacks && !first.now.silent
}

// bestOf looks at each of some nodes.
func (r *ranking) bestOf(nodes []*node, bytes int64, skip map[string]bool) (best *place) {
	for _, n := range nodes {
		p := r.places[n]
		if skip[n.name] || p == nil {
			continue
		}
		if best == nil || p.now.before(best.now, bytes) {
			best = p
		}
	}
	return best
}

// reserve sets room aside on a node, as take does.
func (c *capacities) reserve(n *node, k kind, bytes int64) (done func(made bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.setAside(n, k, bytes)
}

// setAside counts a volume that is being made as made. After one that was not made the node is asked again. The caller holds mu.
func (c *capacities) setAside(n *node, k kind, bytes int64) (done func(made bool)) {
	c.promise(n, k.pool, bytes, func(*ranking, *place) {})
	return func(made bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.promise(n, k.pool, -bytes, func(r *ranking, p *place) {
			if made {
				p.said.available -= bytes
			} else {
				r.due.add(n, time.Time{})
			}
		})
	}
}

// promise counts bytes that are in flight in a pool of a node, and changes it in each ranking that it matters to. One that has left
// meanwhile is in none.
func (c *capacities) promise(n *node, pool string, bytes int64, also func(*ranking, *place)) {
	inFlight, connected := c.inFlight[n]
	if !connected {
		return
	}
	if inFlight[pool] += bytes; inFlight[pool] == 0 {
		delete(inFlight, pool)
	}
	for _, r := range c.kinds {
		if p := r.places[n]; r.kind.pool == pool && p != nil {
			r.order.remove(p) // before what it is ordered by changes
			also(r, p)
			p.now = p.said
			p.now.available -= inFlight[pool]
			r.order.insert(p)
		}
	}
}
