package fleet

import (
	"sync"
	"time"
)

// hearing is which of the nodes that are connected have said what they have, by when they were asked for it.
type hearing struct {
	mu    sync.Mutex
	heard ages // zero: never; those that nobody waits for are far ahead
	deaf  ages // these, and when they may be asked again
}

func newHearing() *hearing { return &hearing{heard: newAges(), deaf: newAges()} }

func (h *hearing) add(n *node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard.add(n, time.Time{})
}

func (h *hearing) remove(n *node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard.remove(n)
	h.deaf.remove(n)
}

// note takes over what a node knows of itself. The caller holds the node's mu.
func (h *hearing) note(n *node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.heard.has(n): // it has left
	case n.deaf:
		h.heard.add(n, time.Now().AddDate(1000, 0, 0))
		h.deaf.add(n, n.asked.Add(deafness))
	default:
		h.heard.add(n, n.heard)
		h.deaf.remove(n)
	}
}

// behind returns the nodes to wait for, which have not said what they have, asked at since or later.
func (h *hearing) behind(since time.Time) []*node {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.heard.before(since, 0)
}

// deafUntil returns the nodes that nobody waits for and that may be asked again now, and has them not returned again for a while.
func (h *hearing) deafUntil(now time.Time) []*node {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := h.deaf.before(now, 0)
	for _, n := range found {
		h.deaf.add(n, now.Add(deafness))
	}
	return found
}
