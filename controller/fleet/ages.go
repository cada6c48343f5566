package fleet

import (
	"container/heap"
	"time"
)

// ages is nodes with a time each. It finds those whose time is the earliest without looking at the others. Its owner
// sees to it that one call at a time uses it.
type ages struct {
	heap byTime
	of   map[*node]*aged
}

type aged struct {
	node *node
	time time.Time
	at   int // in the heap
}

func newAges() ages { return ages{of: map[*node]*aged{}} }

// add takes a node in, or changes its time.
func (a *ages) add(n *node, t time.Time) {
	if a.of[n] == nil {
		a.of[n] = &aged{node: n, time: t}
		heap.Push(&a.heap, a.of[n])
		return
	}
	a.of[n].time = t
	heap.Fix(&a.heap, a.of[n].at)
}

func (a *ages) has(n *node) bool { return a.of[n] != nil }

// remove takes a node out, where it is in.
func (a *ages) remove(n *node) {
	if one := a.of[n]; one != nil {
		heap.Remove(&a.heap, one.at)
		delete(a.of, n)
	}
}

// before returns the nodes whose time is before t, at most so many (all where that is 0), in no order.
func (a *ages) before(t time.Time, most int) (found []*node) {
	open := []int{0} // what lies below one that is not before t is not either
	for len(open) > 0 && (most == 0 || len(found) < most) {
		i := open[len(open)-1]
		open = open[:len(open)-1]
		if i < len(a.heap) && a.heap[i].time.Before(t) {
			found = append(found, a.heap[i].node)
			open = append(open, 2*i+1, 2*i+2)
		}
	}
	return found
}

// byTime is a heap.Interface.
type byTime []*aged

func (h byTime) Len() int           { return len(h) }
func (h byTime) Less(i, j int) bool { return h[i].time.Before(h[j].time) }
func (h byTime) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *byTime) Push(x any) {
	one := x.(*aged)
	one.at = len(*h)
	*h = append(*h, one)
}

func (h *byTime) Pop() any {
	last := len(*h) - 1
	one := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return one
}
