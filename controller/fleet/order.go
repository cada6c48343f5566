package fleet

import (
	"cmp"
	"math/rand/v2"
	"strings"
)

// order is the capacities of nodes for one kind of volume, in the order in which a volume is made on them where its size does not
// matter (capacity.before): it is a treap, a binary tree that random weights keep balanced, whatever nodes say of themselves. Each
// place knows the largest volume that any node below it can make, so that the first one with room for a given size is found in the
// logarithm of the number of nodes. docs/decisions/0024-order-of-capacities.md says why no library does that.
type order struct{ root *place }

// place is what is known of one node. An order changes only those that are not in it.
type place struct {
	node *node
	said capacity // as the node said it, less what was made since
	now  capacity // without what is being made

	weight      uint64 // no place below has a higher one
	left, right *place
	largest     int64 // of all below, and of this one
}

// compare orders places by what is known of them: those that have a pool for such volumes and say how much room is in it, the most
// first; then those that do not say; then those without a pool.
func (p *place) compare(other *place) int {
	rank := func(c capacity) int {
		switch {
		case c.lacks:
			return 2
		case c.silent:
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(rank(p.now), rank(other.now)), cmp.Compare(other.now.available, p.now.available), strings.Compare(p.node.name, other.node.name))
}

// update takes over what the places below know.
func (p *place) update() {
	p.largest = p.now.largestVolume()
	for _, below := range []*place{p.left, p.right} {
		if below != nil {
			p.largest = max(p.largest, below.largest)
		}
	}
}

// insert adds a place that is not in it.
func (o *order) insert(p *place) {
	p.weight, p.left, p.right = rand.Uint64(), nil, nil
	o.root = inserted(o.root, p)
}

func inserted(root, p *place) *place {
	switch {
	case root == nil:
		root = p
	case p.weight > root.weight:
		p.left, p.right = split(root, p)
		root = p
	case p.compare(root) < 0:
		root.left = inserted(root.left, p)
	default:
		root.right = inserted(root.right, p)
	}
	root.update()
	return root
}

// split returns what comes before p, and the rest.
func split(root, p *place) (before, rest *place) {
	if root == nil {
		return nil, nil
	}
	if root.compare(p) < 0 {
		root.right, rest = split(root.right, p)
		root.update()
		return root, rest
	}
	before, root.left = split(root.left, p)
	root.update()
	return before, root
}

// remove takes a place out that is in it.
func (o *order) remove(p *place) { o.root = removed(o.root, p) }

func removed(root, p *place) *place {
	if root == p {
		return joined(p.left, p.right)
	}
	if p.compare(root) < 0 {
		root.left = removed(root.left, p)
	} else {
		root.right = removed(root.right, p)
	}
	root.update()
	return root
}

// joined returns one tree of two, the first of which comes before the second.
func joined(first, second *place) *place {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	case first.weight > second.weight:
		first.right = joined(first.right, second)
		first.update()
		return first
	}
	second.left = joined(first, second.left)
	second.update()
	return second
}

// first returns the first place on whose node a volume of that many bytes fits, else nil; but for the nodes to skip.
func (o *order) first(bytes int64, skip map[string]bool) *place { return firstOf(o.root, bytes, skip) }

func firstOf(root *place, bytes int64, skip map[string]bool) *place {
	if root == nil || root.largest < bytes {
		return nil
	}
	if found := firstOf(root.left, bytes, skip); found != nil {
		return found
	}
	if root.now.largestVolume() >= bytes && !skip[root.node.name] {
		return root
	}
	return firstOf(root.right, bytes, skip)
}
