// Package fleet serves the CSI Controller and GroupController services over many machines. Each of them is
// a whole driver (package controller); this one only decides which node a call is for and passes it on,
// unchanged, as it passes the answer or the error back. It keeps nothing that a node does not tell it
// again when it connects. docs/decisions/0008-routing.md has the rules and their reasons.
package fleet

import (
	"context"
	"maps"
	"slices"
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

	// Settle is how long after its start a Fleet waits for nodes that are not connected yet, instead of
	// going on without them; 10 s where it is 0.
	Settle time.Duration
	// Quiet is how long a Fleet may have had nothing to change before it asks the nodes again for what they
	// have, because another replica may have been at work; 5 s where it is 0.
	Quiet time.Duration
}

// Fleet is the CSI Controller and GroupController services of all nodes that are connected.
type Fleet struct {
	csi.UnimplementedControllerServer
	csi.UnimplementedGroupControllerServer
	config  Config
	started time.Time
	placing sync.Mutex // held from comparing rooms to setting one aside

	mu        sync.Mutex
	nodes     map[string]*node
	undecided map[string]string // name of a volume -> node that may have made it, or may yet
	active    time.Time         // when this replica last changed something
}

// New returns a Fleet of no nodes.
func New(c Config) *Fleet {
	if c.Settle == 0 {
		c.Settle = 10 * time.Second
	}
	if c.Quiet == 0 {
		c.Quiet = 5 * time.Second
	}
	return &Fleet{config: c, started: time.Now(), nodes: map[string]*node{}, undecided: map[string]string{}, active: time.Now()}
}

// Connect adds a node that has proved who it is; name is its volume.NodeName. It replaces a connection of
// the same name. The caller calls gone when the connection has ended; more than once does no harm.
func (f *Fleet) Connect(name string, conn grpc.ClientConnInterface) (gone func()) {
	n := newNode(name, conn)
	f.mu.Lock()
	before := f.nodes[name]
	f.nodes[name] = n
	f.mu.Unlock()
	if before != nil {
		before.leave()
	}
	go n.load(context.Background())
	return func() {
		f.mu.Lock()
		if f.nodes[name] == n {
			delete(f.nodes, name)
		}
		f.mu.Unlock()
		n.leave()
	}
}

// Connected returns the names of the nodes that are connected, sorted.
func (f *Fleet) Connected() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.nodes))
}

// members returns the nodes that are connected, in the order of their names.
func (f *Fleet) members() []*node {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]*node, 0, len(f.nodes))
	for _, name := range slices.Sorted(maps.Keys(f.nodes)) {
		all = append(all, f.nodes[name])
	}
	return all
}

// node returns a node by its name. The kind of its error is Unavailable where it is not connected.
func (f *Fleet) node(name string) (*node, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.nodes[name]; n != nil {
		return n, nil
	}
	return nil, volume.Errorf(volume.Unavailable, "node %q is not connected: its loam node is not running, or cannot reach this controller", name)
}
