package fleet

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// GetCapacity returns what volumes of the given kind may still take: on one node where the topology names
// it, else on all nodes together, where the largest volume is the largest on any node. The kind of its error is
// Unavailable for a node that is not connected: 0 would make a scheduler avoid one that is about to be.
func (f *Fleet) GetCapacity(ctx context.Context, req *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	if len(req.GetAccessibleTopology().GetSegments()) == 0 {
		return f.sumCapacity(ctx, req)
	}
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

// sumCapacity asks all nodes. One that cannot say is left out, unless none can.
func (f *Fleet) sumCapacity(ctx context.Context, req *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	var mu sync.Mutex
	var errs []error
	sum, answers := &csi.GetCapacityResponse{}, 0
	each(f.members(), func(n *node) {
		ctx, cancel := context.WithTimeout(ctx, f.config.Patience)
		defer cancel()
		one, err := pass(ctx, n, n.controller.GetCapacity, req)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case volume.Is(err, volume.Unavailable): // it has just left
		case err != nil:
			klog.FromContext(ctx).Info("node does not say its capacity", "node", n.name, "err", err.Error())
			errs = append(errs, fmt.Errorf("node %q: %w", n.name, err))
		default:
			answers++
			addCapacity(sum, one)
		}
	})
	if answers == 0 && len(errs) > 0 {
		return nil, errs[0]
	}
	return sum, nil
}

func addCapacity(sum, one *csi.GetCapacityResponse) {
	sum.AvailableCapacity = saturated(sum.AvailableCapacity, one.GetAvailableCapacity())
	if most := one.GetMaximumVolumeSize(); most.GetValue() > sum.GetMaximumVolumeSize().GetValue() {
		sum.MaximumVolumeSize = most
	}
	if least := one.GetMinimumVolumeSize(); least != nil && (sum.MinimumVolumeSize == nil || least.Value < sum.MinimumVolumeSize.Value) {
		sum.MinimumVolumeSize = wrapperspb.Int64(least.Value)
	}
}

// saturated returns the sum of two sizes in bytes, and the largest there is where that is larger. What is negative counts as
// nothing.
func saturated(a, b int64) int64 {
	a, b = max(a, 0), max(b, 0)
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
