// Package fleet serves the CSI Controller and GroupController services over many machines. Each of them is
// a whole driver (package controller); this one only decides which node a call is for and passes it on,
// unchanged, as it passes the answer or the error back. It keeps nothing that a node does not tell it
// again when it connects. docs/decisions/0008-routing.md and 0033-retries.md have the rules and their reasons.
package fleet

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"

	"github.com/loam-storage/loam/driver/volume"
)

// Cluster is what the orchestrator knows about nodes.
type Cluster interface {
	// HasNode says whether the cluster has a node whose volume.NodeName is the given one. An error means
	// that it is not known, and never that the node is gone.
	HasNode(ctx context.Context, node string) (bool, error)
	// Report tells an administrator, as well as it can: reason is one word in CamelCase.
	Report(ctx context.Context, reason, message string)
}

// Config says what a Fleet works with.
type Config struct {
	Cluster Cluster // nil: of a node that is not connected nothing is known

	// FirstOnly has a new volume made on the first node that the topology prefers, or nowhere. Kubernetes names
	// the node first that its scheduler has chosen for the pod: a volume anywhere else could keep the pod from
	// ever running, while RESOURCE_EXHAUSTED makes the scheduler choose again. Others go on to the next one, as
	// the specification has it.
	FirstOnly bool

	// Ignored are nodes, by their volume.NodeName, of which an administrator says that what they claim to have is not to be
	// believed: their names keep nothing from being made on others.
	Ignored []string

	// Settle is how long a Fleet waits for a node that has not connected since its start, or that has just
	// left, instead of going on without it; 10 s where it is 0.
	Settle time.Duration
	// Quiet is how long a Fleet may have had no volume to make before it asks the nodes again for what they
	// have, because another replica may have been at work; 5 s where it is 0.
	Quiet time.Duration
	// Patience is how long a create waits for a node that is connected and does not say what it has, or how much room;
	// 3 s where it is 0.
	Patience time.Duration
}

// Fleet is the CSI Controller and GroupController services of all nodes that are connected. Its own calls hold
// the names of what they make; that one call at a time changes a thing is for its node to see to.
type Fleet struct {
	csi.UnimplementedControllerServer
	csi.UnimplementedGroupControllerServer
	config  Config
	started time.Time
	slots   chan struct{} // taken while a node lists what it has
	asking  sync.Mutex    // held while nodes are asked for their room

	refreshing chan struct{} // taken while a node is asked for its room that nobody waits for
	capacities *capacities   // of the nodes that are connected
	hearing    *hearing      // which of them have said what they have
	names      *names        // that nodes have, also those that have left

	mu        sync.Mutex
	nodes     map[string]*node     // that are connected
	sorted    []*node              // the same in the order of their names, or nil; replaced and never changed
	away      map[string]*contents // of the nodes that have left
	held      map[string]bool      // what calls are making now
	undecided map[string]attempt   // by the name of a volume
	active    time.Time            // when this replica was last asked to make a volume
	since     time.Time            // what nodes said before this may be out of date
	swept     time.Time            // when away was last looked through
}

// New returns a Fleet of no nodes.
func New(c Config) *Fleet {
	for _, d := range []struct {
		set   *time.Duration
		usual time.Duration
	}{{&c.Settle, 10 * time.Second}, {&c.Quiet, 5 * time.Second}, {&c.Patience, 3 * time.Second}} {
		if *d.set == 0 {
			*d.set = d.usual
		}
	}
	return &Fleet{config: c, started: time.Now(), slots: make(chan struct{}, maxListing), refreshing: make(chan struct{}, maxRefreshing),
		capacities: newCapacities(), hearing: newHearing(), names: newNames(), nodes: map[string]*node{},
		away: map[string]*contents{}, held: map[string]bool{}, undecided: map[string]attempt{}}
}

// Connect adds a node that has proved who it is; name is its volume.NodeName. It replaces a connection of
// the same name, whose calls go on until that one ends. The caller calls gone when the connection has ended;
// more than once does no harm.
func (f *Fleet) Connect(name string, conn grpc.ClientConnInterface) (gone func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before, c := f.nodes[name], f.away[name]
	switch {
	case before != nil:
		c = before.contents
		f.leave(before)
	case c == nil:
		c = newContents(name, f.names)
	}
	n := newNode(name, conn, c, f)
	f.nodes[name], f.sorted = n, nil
	f.capacities.add(n)
	f.hearing.add(n)
	delete(f.away, name)
	n.startListing()
	return func() {
		f.remove(n)
		n.leave()
	}
}

// remove takes a node out that has left, unless another connection has replaced it. What is known to be on it stays
// known: it may come back.
func (f *Fleet) remove(n *node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.nodes[n.name] != n {
		return
	}
	f.leave(n)
	n.contents.leftAt(time.Now())
	f.away[n.name] = n.contents
}

// leave forgets all of a node but what is on it. The caller holds mu.
func (f *Fleet) leave(n *node) {
	delete(f.nodes, n.name)
	f.sorted = nil
	f.capacities.remove(n)
	f.hearing.remove(n)
}

// Connected returns the names of the nodes that are connected, sorted.
func (f *Fleet) Connected() []string {
	all := f.members()
	names := make([]string, len(all))
	for i, n := range all {
		names[i] = n.name
	}
	return names
}

// Count returns how many nodes are connected.
func (f *Fleet) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.nodes)
}

// members returns the nodes that are connected, in the order of their names. It is not to be changed. Whatever is asked for one
// volume does without: it takes longer the more nodes there are.
func (f *Fleet) members() []*node {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sorted == nil {
		f.sorted = slices.SortedFunc(maps.Values(f.nodes), func(a, b *node) int { return strings.Compare(a.name, b.name) })
	}
	return f.sorted
}

// node returns a node by its name. The kind of its error is Unavailable where it is not connected.
func (f *Fleet) node(name string) (*node, error) {
	f.mu.Lock()
	n := f.nodes[name]
	f.mu.Unlock()
	if n == nil {
		return nil, volume.Errorf(volume.Unavailable, "node %q is not connected: its loam node is not running, or cannot reach this controller", name)
	}
	return n, nil
}

// current returns the same node with the connection that counts now: a node replaces its own from time to time.
func (f *Fleet) current(n *node) *node {
	if newer, err := f.node(n.name); err == nil {
		return newer
	}
	return n
}

// gone reports whether the cluster is known to have no such node any more.
func (f *Fleet) gone(ctx context.Context, name string) bool {
	if f.config.Cluster == nil {
		return false
	}
	exists, err := f.config.Cluster.HasNode(ctx, name)
	return err == nil && !exists
}
