package fleet

import (
	"maps"
	"sync"
	"time"
)

// thing is a volume or a snapshot, by its name without node and pool.
type thing struct {
	snapshot bool
	name     string
}

func aVolume(name string) thing   { return thing{name: name} }
func aSnapshot(name string) thing { return thing{snapshot: true, name: name} }

// contents is what is known to be on a node: what it said, and what calls through here have changed since. It
// outlives a connection. It may be out of date, so it is only ever a reason to ask that node before others.
type contents struct {
	mu       sync.Mutex
	has      map[thing]bool
	making   map[string]bool // volumes that the node was at work on when it said what it has
	listings map[*listing]bool
	left     time.Time // when the node left; it counts while the node is away
}

// listing is what has changed since a node was asked what it has: made, or gone. The answer may not say.
type listing struct {
	changed map[thing]bool
}

func newContents() *contents {
	return &contents{has: map[thing]bool{}, making: map[string]bool{}, listings: map[*listing]bool{}}
}

// note says that a thing is on the node from now on, or is not.
func (c *contents) note(t thing, there bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	set(c.has, t, there)
	if !t.snapshot {
		delete(c.making, t.name)
	}
	for l := range c.listings {
		l.changed[t] = there
	}
}

func set(all map[thing]bool, t thing, there bool) {
	if there {
		all[t] = true
	} else {
		delete(all, t)
	}
}

// holds reports whether the thing is there, or coming to be.
func (c *contents) holds(t thing) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.has[t] || (!t.snapshot && c.making[t.name])
}

// begin is called before the node is asked what it has; one of the next two with what it returns after that.
func (c *contents) begin() *listing {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &listing{changed: map[thing]bool{}}
	c.listings[l] = true
	return l
}

// replace takes over what the node has said.
func (c *contents) replace(l *listing, has map[thing]bool, making map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t, there := range l.changed {
		set(has, t, there)
		delete(making, t.name)
	}
	c.has, c.making = maps.Clone(has), making // a clone is as small as can be
	delete(c.listings, l)
}

func (c *contents) abandon(l *listing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.listings, l)
}

func (c *contents) leftAt(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = t
}

// leftSince reports whether the node left after t.
func (c *contents) leftSince(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left.After(t)
}
