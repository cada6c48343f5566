package fleet

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/inventory"
	"github.com/loam-storage/loam/driver/volume"
)

// node is a machine that is connected.
type node struct {
	name       string
	controller csi.ControllerClient
	group      csi.GroupControllerClient
	inventory  inventory.InventoryClient
	left       context.Context // ends with the connection
	leave      context.CancelFunc
	contents   *contents
	capacities *capacities // of all nodes
	hearing    *hearing
	slots      chan struct{}
	listed     atomic.Int64 // entries of the list that was last begun

	mu      sync.Mutex
	heard   time.Time     // when it was asked for what it last said of its contents; zero: it has not yet
	listing chan struct{} // closed when it has been asked; nil while it is not
	asked   time.Time     // when that was last decided
	began   time.Time     // when it began to answer; zero while it does not
	deaf    bool          // it did not say, or not in time: nobody waits for it until it has
	tardy   bool          // it did not say how much room it has in time: it is asked, and nobody waits for the answer
	aside   bool          // it is being asked so
}

func newNode(name string, conn grpc.ClientConnInterface, c *contents, f *Fleet) *node {
	calls := caller{conn, name}
	n := &node{
		name: name, controller: csi.NewControllerClient(calls), group: csi.NewGroupControllerClient(calls), inventory: inventory.NewInventoryClient(calls),
		contents: c, capacities: f.capacities, hearing: f.hearing, slots: f.slots,
	}
	n.left, n.leave = context.WithCancel(context.Background())
	return n
}

// hasHeard reports whether the node has said what it has, asked at since or later.
func (n *node) hasHeard(since time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.heard.IsZero() && !n.heard.Before(since)
}

// hear returns once the node has said what it has, asked at since or later. It returns false where the node is deaf,
// works at the answer for longer than patience, or has left.
func (n *node) hear(ctx context.Context, since time.Time, patience time.Duration) bool {
	enough := time.NewTimer(patience)
	defer enough.Stop()
	for !n.hasHeard(since) {
		if n.isDeaf() {
			return false
		}
		select {
		case <-n.startListing():
		case <-enough.C:
			if more := n.patienceLeft(patience); more > 0 {
				enough.Reset(more)
				continue
			}
			n.setDeaf(true)
			klog.FromContext(ctx).Info("node does not say what it has: volumes are made without waiting for it", "node", n.name)
			return false
		case <-n.left.Done():
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// isDeaf reports whether nobody is to wait for the node. From time to time it is asked again.
func (n *node) isDeaf() bool {
	n.mu.Lock()
	again := n.deaf && time.Since(n.asked) > deafness
	deaf := n.deaf
	n.mu.Unlock()
	if again {
		n.startListing()
	}
	return deaf
}

// patienceLeft returns for how long the node may still be at work on its answer. While it has not been asked, as others
// are before it, all is left.
func (n *node) patienceLeft(patience time.Duration) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.began.IsZero() {
		return patience
	}
	return patience - time.Since(n.began)
}

func (n *node) setDeaf(deaf bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deaf = deaf
	n.hearing.note(n)
}

// startListing has the node asked what it has, and returns what is closed when it has been. One question is asked at
// a time.
func (n *node) startListing() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listing == nil {
		n.listing, n.asked = make(chan struct{}), time.Now()
		go n.list()
	}
	return n.listing
}

const (
	// maxListing is how many nodes are asked at once, and pageEntries for how many entries, of some 60 bytes (300 where CSI is
	// asked): both bound the memory that a thousand nodes need which connect in one instant.
	maxListing  = 32
	pageEntries = 1000

	// listTimeout is how long a node gets to list all that it has.
	listTimeout = 10 * time.Second
	// deafness is how long one that did not is left alone.
	deafness = 10 * time.Second
)

// list asks the node what it has. One that cannot say keeps what was known of it: it is still the node that decides what
// exists on it.
func (n *node) list() {
	select {
	case n.slots <- struct{}{}:
		defer func() { <-n.slots }()
	case <-n.left.Done():
	}
	ctx, cancel := context.WithTimeout(n.left, listTimeout)
	defer cancel()
	changes, asked := n.contents.begin(), time.Now()
	n.mu.Lock()
	n.began = asked
	n.mu.Unlock()
	said, err := n.everything(ctx)
	if err == nil {
		var lost, back []string
		lost, back, err = n.contents.replace(changes, said)
		n.logPools(lost, back)
	} else {
		n.contents.abandon(changes)
	}
	if err != nil && n.left.Err() == nil {
		klog.Background().Error(err, "node cannot list what it has", "node", n.name)
	}
	n.forgetRoom()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.deaf = err != nil; err == nil {
		n.heard = asked
	}
	n.hearing.note(n)
	close(n.listing)
	n.listing, n.began = nil, time.Time{}
}

// logPools says which pools the node can no longer read, and which it can again.
func (n *node) logPools(lost, back []string) {
	for _, pool := range lost {
		_, why := n.contents.unreadablePool(pool)
		klog.Background().Info("node cannot read a pool", "node", n.name, "pool", pool, "err", why)
	}
	for _, pool := range back {
		klog.Background().Info("node can read a pool again", "node", n.name, "pool", pool)
	}
}

// noteSnapshots says of the snapshots of a group that they are on the node from now on, or are not.
func (n *node) noteSnapshots(handles []string, there bool) {
	for _, handle := range handles {
		if id, err := volume.ParseID(handle); err == nil {
			pool := ""
			if there {
				pool = id.Pool
			}
			n.contents.note(aSnapshot(id.Name), pool)
		}
	}
	n.forgetRoom()
}

// each does something for every node, some at a time.
func each(nodes []*node, do func(*node)) {
	const atOnce = 64
	var all sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, n := range nodes {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			do(n)
		})
	}
	all.Wait()
}
