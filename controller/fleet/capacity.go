package fleet

import (
	"context"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/loam-storage/loam/driver/volume"
)

// GetCapacity returns what volumes of the given kind may still take: on one node where the topology names
// it, else on all nodes together. The kind of its error is Unavailable for a node that is not connected: 0
// would make a scheduler avoid one that is about to be.
func (f *Fleet) GetCapacity(ctx context.Context, req *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	if len(req.GetAccessibleTopology().GetSegments()) > 0 {
		name := nodeOf(req.GetAccessibleTopology())
		if name == "" {
			return &csi.GetCapacityResponse{}, nil
		}
		n, err := f.node(name)
		if err != nil {
			return nil, err
		}
		return pass(ctx, n, n.controller.GetCapacity, req)
	}
	sum := &csi.GetCapacityResponse{}
	for _, n := range f.members() {
		one, err := pass(ctx, n, n.controller.GetCapacity, req)
		if volume.Is(err, volume.Unavailable) {
			continue // it has just left
		}
		if err != nil {
			return nil, err
		}
		sum.AvailableCapacity += one.GetAvailableCapacity()
		if most := one.GetMaximumVolumeSize(); most.GetValue() > sum.GetMaximumVolumeSize().GetValue() {
			sum.MaximumVolumeSize = most
		}
		if least := one.GetMinimumVolumeSize(); least != nil && (sum.MinimumVolumeSize == nil || least.Value < sum.MinimumVolumeSize.Value) {
			sum.MinimumVolumeSize = wrapperspb.Int64(least.Value)
		}
	}
	return sum, nil
}

// kind is what decides where volumes can be made, as the request that asks for their room.
type kind struct {
	key string
	req *csi.GetCapacityRequest
}

func kindOf(parameters map[string]string, capabilities []*csi.VolumeCapability) kind {
	const claim = "csi.storage.k8s.io/" // says whose volume it is, which is another one each time
	req := &csi.GetCapacityRequest{Parameters: map[string]string{}, VolumeCapabilities: capabilities}
	for key, value := range parameters {
		if len(key) < len(claim) || key[:len(claim)] != claim {
			req.Parameters[key] = value
		}
	}
	key, _ := proto.MarshalOptions{Deterministic: true}.Marshal(req) // fails for no message of this type
	return kind{key: string(key), req: req}
}

// capacity is the room on a node for one kind of volume, in bytes.
type capacity struct {
	available int64 // what is set aside is taken off
	lacks     bool  // the node has no pool for such volumes
	asked     time.Time
}

// capacityAge is for how long a node is believed to have the room that it said.
const capacityAge = 20 * time.Second

// room asks the node for its room, if it has not lately. One that cannot say is tried after all others: it
// knows best why.
func (n *node) room(ctx context.Context, k kind) capacity {
	n.mu.Lock()
	had, known := n.free[k.key]
	n.mu.Unlock()
	if known && time.Since(had.asked) < capacityAge {
		return had
	}
	now := capacity{asked: time.Now()}
	if resp, err := pass(ctx, n, n.controller.GetCapacity, k.req); err == nil {
		now.available = resp.GetAvailableCapacity()
		now.lacks = now.available == 0 && resp.GetMinimumVolumeSize() == nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.free) >= maxKinds {
		clear(n.free)
	}
	n.free[k.key] = now
	return now
}

// maxKinds bounds what is remembered of a node. There are as many kinds as storage classes.
const maxKinds = 32

func (n *node) known(k kind) capacity {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.free[k.key]
}

// setAside counts a volume that is being made as made. What was not made is given back by asking again.
func (n *node) setAside(k kind, bytes int64) (done func(made bool)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if had, known := n.free[k.key]; known {
		had.available -= bytes
		n.free[k.key] = had
	}
	return func(made bool) {
		if made {
			return
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.free, k.key)
	}
}

// forgetFree has the node of a volume asked again for its room.
func (f *Fleet) forgetFree(handle string) {
	id, err := volume.ParseID(handle)
	if err != nil {
		return
	}
	if n, err := f.node(id.Node); err == nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		clear(n.free)
	}
}
