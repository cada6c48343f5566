package fleet

import (
	"context"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"

	"github.com/loam-storage/loam/driver/volume"
)

// kind is what decides where volumes can be made, as the request that asks for their room.
type kind struct {
	key  string
	pool string // the parameter; several kinds may share the room of one pool
	req  *csi.GetCapacityRequest
}

func kindOf(parameters map[string]string, capabilities []*csi.VolumeCapability) kind {
	own := volume.OwnParameters(parameters) // the others say whose volume it is, which is another one each time
	req := &csi.GetCapacityRequest{Parameters: own, VolumeCapabilities: capabilities}
	key, _ := proto.MarshalOptions{Deterministic: true}.Marshal(req) // fails for no message of this type
	return kind{key: string(key), pool: own[volume.KeyPool], req: req}
}

// capacity is the room on a node for one kind of volume, in bytes.
type capacity struct {
	pool      string
	available int64     // what was made since it was asked is taken off
	largest   int64     // volume that can be made
	lacks     bool      // the node has no pool for such volumes
	silent    bool      // the node did not say
	asked     time.Time // zero: to be asked again
}

func (c capacity) fits(bytes int64) bool { return min(c.available, c.largest) >= bytes }

// before reports whether a volume of that size is better made on c's node than on other's. One that did not say comes
// last: it knows best why.
func (c capacity) before(other capacity, bytes int64) bool {
	switch {
	case c.silent != other.silent:
		return other.silent
	case c.fits(bytes) != other.fits(bytes):
		return c.fits(bytes)
	}
	return c.available > other.available
}

const (
	// capacityAge is for how long a node is believed to have the room that it said.
	capacityAge = 20 * time.Second
	// maxKinds bounds what is remembered of a node. There are as many kinds as storage classes.
	maxKinds = 32
)

// ask has those nodes say how much room they have that have not lately. One that did not answer in time before is asked,
// and not waited for.
func (f *Fleet) ask(ctx context.Context, nodes []*node, k kind) {
	if len(unasked(nodes, k)) == 0 {
		return
	}
	f.asking.Lock() // another create may be asking the same
	defer f.asking.Unlock()
	unasked := unasked(nodes, k)
	prompt := make([]*node, 0, len(unasked))
	for _, n := range unasked {
		if n.isTardy() {
			n.askAside(k)
		} else {
			prompt = append(prompt, n)
		}
	}
	each(prompt, func(n *node) { n.ask(ctx, k, f.config.Patience) })
}

// askAside asks a node how much room it has while nobody waits for it. One question is asked at a time.
func (n *node) askAside(k kind) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.aside {
		return
	}
	n.aside = true
	go func() {
		n.ask(n.left, k, listTimeout)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.aside = false
	}()
}

// isTardy reports whether the node did not say in time how much room it has when it was last asked.
func (n *node) isTardy() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tardy
}

func unasked(nodes []*node, k kind) (all []*node) {
	for _, n := range nodes {
		if time.Since(n.room(k).asked) > capacityAge {
			all = append(all, n)
		}
	}
	return all
}

func (n *node) ask(ctx context.Context, k kind, patience time.Duration) {
	timely, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	now := capacity{pool: k.pool, asked: time.Now()}
	resp, err := pass(timely, n, n.controller.GetCapacity, k.req)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		now.silent = true
	default:
		now.available, now.largest = resp.GetAvailableCapacity(), resp.GetAvailableCapacity()
		if resp.GetMaximumVolumeSize() != nil {
			now.largest = resp.GetMaximumVolumeSize().GetValue()
		}
		now.lacks = now.available <= 0 && resp.GetMinimumVolumeSize() == nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tardy = timely.Err() != nil
	if len(n.free) >= maxKinds {
		clear(n.free)
	}
	n.free[k.key] = now
}

// room returns what is known of the node's room, volumes that are being made taken off.
func (n *node) room(k kind) capacity {
	n.mu.Lock()
	defer n.mu.Unlock()
	c, known := n.free[k.key]
	c.silent = c.silent || !known
	c.available -= n.promised[k.pool]
	return c
}

// setAside counts a volume that is being made as made. After one that was not made the node is asked again.
func (n *node) setAside(k kind, bytes int64) (done func(made bool)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.promised[k.pool] += bytes
	return func(made bool) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.promised[k.pool] -= bytes; n.promised[k.pool] == 0 {
			delete(n.promised, k.pool)
		}
		for key, c := range n.free {
			switch {
			case c.pool != k.pool:
			case made:
				c.available -= bytes
				n.free[key] = c
			default:
				c.asked = time.Time{}
				n.free[key] = c
			}
		}
	}
}

// forgetRoom has the node asked again: something was given back, or taken for another purpose.
func (n *node) forgetRoom() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, c := range n.free {
		c.asked = time.Time{}
		n.free[key] = c
	}
}
