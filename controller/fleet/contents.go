package fleet

import (
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/loam-storage/loam/driver/volume"
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
	node  string
	names *names // finds this by what it holds

	mu          sync.Mutex
	forgotten   bool             // what it holds is in names no more
	has         map[thing]string // the pool that it is in
	making      map[string]bool  // volumes that the node was at work on when it said what it has
	unreadable  map[string]string
	defaultPool string
	listings    map[*listing]bool
	begun       int       // listings, ever
	taken       int       // the number of the one that was taken over last
	left        time.Time // when the node left; it counts while the node is away
}

// listing is what has changed since a node was asked what it has: made in a pool, or gone (no pool). The answer may not say.
type listing struct {
	number  int // those that began later have a higher one
	changed map[thing]string
}

func newContents(node string, x *names) *contents {
	return &contents{node: node, names: x, has: map[thing]string{}, making: map[string]bool{}, listings: map[*listing]bool{}}
}

// note says that a thing is in a pool of the node from now on; in none where that is empty.
func (c *contents) note(t thing, pool string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.holdsNow(t)
	set(c.has, t, pool)
	if !t.snapshot {
		delete(c.making, t.name)
	}
	switch after := c.holdsNow(t); {
	case c.forgotten || before == after:
	case after:
		c.names.change(c, []thing{t}, nil)
	default:
		c.names.change(c, nil, []thing{t})
	}
	for l := range c.listings {
		l.changed[t] = pool
	}
}

func set(all map[thing]string, t thing, pool string) {
	if pool != "" {
		all[t] = pool
	} else {
		delete(all, t)
	}
}

// holds reports whether the thing is there, or coming to be.
func (c *contents) holds(t thing) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.holdsNow(t)
}

func (c *contents) holdsNow(t thing) bool { return c.has[t] != "" || (!t.snapshot && c.making[t.name]) }

// all returns all that it holds, each once. The caller holds mu.
func (c *contents) all() iter.Seq[thing] {
	return func(yield func(thing) bool) {
		for t := range c.has {
			if !yield(t) {
				return
			}
		}
		for name := range c.making {
			if t := aVolume(name); c.has[t] == "" && !yield(t) {
				return
			}
		}
	}
}

// forget takes all that it holds out of names, for good.
func (c *contents) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.forgotten {
		c.names.change(c, nil, slices.Collect(c.all()))
		c.names.unreadable(c, false)
	}
	c.forgotten = true
}

// hidden returns the pool that the thing is known to be in, and why that cannot be read; empty where it can, or the thing is in
// none.
func (c *contents) hidden(t thing) (pool, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pool = c.has[t]
	return pool, c.unreadable[pool]
}

// unreadablePool returns the pool that a request is for which names that one, or the default one where it is empty, and why it cannot
// be read; empty where it can.
func (c *contents) unreadablePool(named string) (pool, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if named == "" {
		named = c.defaultPool
	}
	return named, c.unreadable[named]
}

// begin is called before the node is asked what it has; one of the next two with what it returns after that.
func (c *contents) begin() *listing {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun++
	l := &listing{number: c.begun, changed: map[thing]string{}}
	c.listings[l] = true
	return l
}

// replace takes over what the node has said, unless a question that was put later has been answered already, over a newer connection.
// What was in a pool that it cannot read now still is. It returns the pools that can no longer be read, and those that can again. The
// kind of its error is Internal for more names than a node can have: nothing is taken over then.
func (c *contents) replace(l *listing, said told) (lost, back []string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.listings, l)
	if l.number < c.taken {
		return nil, nil, nil
	}
	if len(said.unreadable) > 0 {
		for t, pool := range c.has {
			if _, hidden := said.unreadable[pool]; hidden && said.has[t] == "" {
				said.has[t] = pool
			}
		}
	}
	if len(said.has) > mostNames {
		return nil, nil, volume.Errorf(volume.Internal, "it has more than %d names, with those that were seen in pools it cannot read now: its answer is not used", mostNames)
	}
	c.taken = l.number
	for t, pool := range l.changed {
		set(said.has, t, pool)
		if !t.snapshot {
			delete(said.making, t.name)
		}
	}
	for pool := range said.unreadable {
		if c.unreadable[pool] == "" {
			lost = append(lost, pool)
		}
	}
	for pool := range c.unreadable {
		if said.unreadable[pool] == "" {
			back = append(back, pool)
		}
	}
	c.takeOver(said)
	slices.Sort(lost)
	slices.Sort(back)
	return lost, back, nil
}

// takeOver has what the node has said in the place of what was known. The caller holds mu.
func (c *contents) takeOver(said told) {
	now := &contents{has: maps.Clone(said.has), making: said.making} // a clone is as small as can be
	var came, went []thing
	for t := range now.all() {
		if !c.holdsNow(t) {
			came = append(came, t)
		}
	}
	for t := range c.all() {
		if !now.holdsNow(t) {
			went = append(went, t)
		}
	}
	c.has, c.making = now.has, now.making
	c.unreadable, c.defaultPool = said.unreadable, said.defaultPool
	if !c.forgotten {
		c.names.change(c, came, went)
		c.names.unreadable(c, len(c.unreadable) > 0)
	}
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
