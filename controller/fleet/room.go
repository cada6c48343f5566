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
	available int64 // what was made since it was asked is taken off
	largest   int64 // volume that can be made
	lacks     bool  // the node has no pool for such volumes
	silent    bool  // the node did not say
}

// largestVolume returns how many bytes a volume may have; less than nothing where none is known to fit.
func (c capacity) largestVolume() int64 {
	if c.lacks || c.silent {
		return -1
	}
	return min(c.available, c.largest)
}

func (c capacity) fits(bytes int64) bool { return c.largestVolume() >= bytes }

// before reports whether a volume of that size is better made on c's node than on other's. One that did not say comes
// last: it knows best why. One without a pool for it comes behind that.
func (c capacity) before(other capacity, bytes int64) bool {
	switch {
	case c.lacks != other.lacks:
		return other.lacks
	case c.silent != other.silent:
		return other.silent
	case c.fits(bytes) != other.fits(bytes):
		return c.fits(bytes)
	}
	return c.available > other.available
}

// ask has those nodes, or all where there are none given, say how much room they have that have not lately. One that did not answer in
// time before is asked, and not waited for.
func (f *Fleet) ask(ctx context.Context, nodes []*node, k kind) {
	if len(f.capacities.unasked(nodes, k)) == 0 {
		return
	}
	f.asking.Lock() // another create may be asking the same
	defer f.asking.Unlock()
	var prompt []*node
	for _, n := range f.capacities.unasked(nodes, k) {
		if n.isTardy() {
			f.askAside(n, k)
		} else {
			prompt = append(prompt, n)
		}
	}
	each(prompt, func(n *node) { f.askNode(ctx, n, k, f.config.Patience) })
}

// maxRefreshing is how many nodes are asked at a time whose answers nobody waits for yet.
const maxRefreshing = 16

// refresh has some nodes asked that have to be soon, so that no create has to wait for many at once.
func (f *Fleet) refresh(k kind) {
	for {
		select {
		case f.refreshing <- struct{}{}:
		default:
			return
		}
		n := f.capacities.aging(k)
		if n == nil {
			<-f.refreshing
			return
		}
		go func() {
			defer func() { <-f.refreshing }()
			f.askNode(n.left, n, k, f.config.Patience)
		}()
	}
}

// askAside asks a node how much room it has while nobody waits for it. One question is asked at a time.
func (f *Fleet) askAside(n *node, k kind) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.aside {
		f.capacities.postpone(n, k, time.Now().Add(time.Second))
		return
	}
	n.aside = true
	f.capacities.postpone(n, k, time.Now().Add(listTimeout))
	go func() {
		f.askNode(n.left, n, k, listTimeout)
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

func (f *Fleet) askNode(ctx context.Context, n *node, k kind, patience time.Duration) {
	timely, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var said capacity
	asked := time.Now()
	resp, err := pass(timely, n, n.controller.GetCapacity, k.req)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		said.silent = true
	default:
		said.available = max(resp.GetAvailableCapacity(), 0)
		said.largest = said.available
		if resp.GetMaximumVolumeSize() != nil {
			said.largest = max(resp.GetMaximumVolumeSize().GetValue(), 0)
		}
		said.lacks = said.available == 0 && resp.GetMinimumVolumeSize() == nil
	}
	n.mu.Lock()
	n.tardy = timely.Err() != nil
	n.mu.Unlock()
	f.capacities.said(n, k, said, asked)
}

// forgetRoom has the node asked again: something was given back, or taken for another purpose.
func (n *node) forgetRoom() { n.capacities.forget(n) }
