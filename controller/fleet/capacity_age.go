package fleet

import (
	"slices"
	"time"
)

const (
	// capacityAge is for how long a node is believed to have the room that it said. After refreshAge it is asked again while nobody
	// waits.
	capacityAge = 20 * time.Second
	refreshAge  = 15 * time.Second
)

// unasked returns the nodes, of the given ones or of all where those are nil, that are to be asked how much room they have before it
// counts.
func (c *capacities) unasked(nodes []*node, k kind) (all []*node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, aged := c.of(k), time.Now().Add(refreshAge-capacityAge)
	if nodes == nil {
		return r.due.before(aged, 0)
	}
	return slices.DeleteFunc(slices.Clone(nodes), func(n *node) bool { return !r.due.has(n) || !r.due.of[n].time.Before(aged) })
}

// aging returns the node that had better be asked next, and has it not returned again for a while; nil where none has to be soon, or
// one has to be before its room counts.
func (c *capacities) aging(k kind) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, now := c.of(k), time.Now()
	next := r.due.before(now, 1) // which is the earliest
	if len(next) == 0 || r.due.of[next[0]].time.Before(now.Add(refreshAge-capacityAge)) {
		return nil
	}
	r.due.add(next[0], now.Add(listTimeout))
	return next[0]
}

// postpone has a node not asked before the given time.
func (c *capacities) postpone(n *node, k kind, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.of(k); r.due.has(n) {
		r.due.add(n, until)
	}
}

// said notes what a node has answered, which it was asked at the given time.
func (c *capacities) said(n *node, k kind, said capacity, asked time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.of(k)
	if p := r.places[n]; p != nil {
		r.change(p, said, c.inFlight[n])
		r.due.add(n, asked.Add(refreshAge))
	}
}

// forget has a node asked again: something was given back, or taken for another purpose.
func (c *capacities) forget(n *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.kinds {
		if r.due.has(n) {
			r.due.add(n, time.Time{})
		}
	}
}
