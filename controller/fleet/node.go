package fleet

import (
	"context"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// node is a machine that is connected, with what it has told of itself.
type node struct {
	name       string
	controller csi.ControllerClient
	group      csi.GroupControllerClient
	left       context.Context // ends with the connection
	leave      context.CancelFunc
	loaded     chan struct{} // closed once the node was asked what it has

	mu        sync.Mutex
	volumes   map[string]bool // names, without node and pool
	snapshots map[string]bool
	free      map[string]capacity // by kind of volume, see kindOf
}

func newNode(name string, conn grpc.ClientConnInterface) *node {
	n := &node{
		name: name, controller: csi.NewControllerClient(conn), group: csi.NewGroupControllerClient(conn),
		loaded: make(chan struct{}), volumes: map[string]bool{}, snapshots: map[string]bool{}, free: map[string]capacity{},
	}
	n.left, n.leave = context.WithCancel(context.Background())
	return n
}

// load asks a node that has just connected what it has.
func (n *node) load(ctx context.Context) {
	defer close(n.loaded)
	n.reload(ctx)
}

// pageEntries is how many volumes or snapshots a node is asked for at once: some 300 bytes each, far from
// the 4 MiB that gRPC takes in one message.
const pageEntries = 2000

// reload asks the node for the names of all its volumes and snapshots. One that cannot say keeps what was
// known of it: it is still the node that decides what exists on it.
func (n *node) reload(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.left, cancel)()
	volumes, err := pages(func(token string) ([]*csi.ListVolumesResponse_Entry, string, error) {
		r, err := n.controller.ListVolumes(ctx, &csi.ListVolumesRequest{MaxEntries: pageEntries, StartingToken: token})
		return r.GetEntries(), r.GetNextToken(), err
	}, func(e *csi.ListVolumesResponse_Entry) string { return e.GetVolume().GetVolumeId() })
	if err == nil {
		var snapshots map[string]bool
		snapshots, err = pages(func(token string) ([]*csi.ListSnapshotsResponse_Entry, string, error) {
			r, err := n.controller.ListSnapshots(ctx, &csi.ListSnapshotsRequest{MaxEntries: pageEntries, StartingToken: token})
			return r.GetEntries(), r.GetNextToken(), err
		}, func(e *csi.ListSnapshotsResponse_Entry) string { return e.GetSnapshot().GetSnapshotId() })
		if err == nil {
			n.mu.Lock()
			n.volumes, n.snapshots, n.free = volumes, snapshots, map[string]capacity{}
			n.mu.Unlock()
			return
		}
	}
	if n.left.Err() == nil {
		klog.Background().Error(err, "node cannot list what it has", "node", n.name)
	}
}

// pages returns the names that the handles of all entries have.
func pages[E any](list func(token string) ([]E, string, error), handle func(E) string) (map[string]bool, error) {
	names := map[string]bool{}
	for token := ""; ; {
		entries, next, err := list(token)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if id, err := volume.ParseID(handle(e)); err == nil {
				names[id.Name] = true
			}
		}
		if next == "" || next == token {
			return names, nil
		}
		token = next
	}
}

// hasVolume reports whether the node has said that it has a volume of that name.
func (n *node) hasVolume(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.volumes[name]
}

func (n *node) hasSnapshot(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.snapshots[name]
}

// madeVolume and the next ones note what a call has changed on the node.
func (n *node) madeVolume(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.volumes[name] = true
}

func (n *node) madeSnapshot(names ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range names {
		n.snapshots[name] = true
	}
	clear(n.free)
}

func (n *node) forgetVolume(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.volumes, name)
	clear(n.free) // what was given back is for the node to say
}

func (n *node) forgetSnapshot(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.snapshots, name)
	clear(n.free)
}
