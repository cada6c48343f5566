package fleet

import (
	"context"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/driver/volume"
)

// CreateVolume makes a volume on the node that has it already, else that of its source, else the first
// one that the topology prefers and that has room, else the one with the most room.
func (f *Fleet) CreateVolume(ctx context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if err := volume.CheckRequestName(req.GetName()); err != nil {
		return nil, err
	}
	f.refresh(ctx)
	defer f.changing()()
	name := volume.NameFor(req.GetName())
	holder, err := f.holder(name)
	if err != nil {
		return nil, err
	}
	if holder == nil {
		holder, err = f.sourceNode(req)
	}
	switch {
	case err != nil:
		return nil, err
	case holder != nil:
		resp, err := f.createOn(ctx, holder, name, req)
		if status.Code(err) == codes.ResourceExhausted {
			f.decided(name)
		}
		return resp, err
	}
	return f.createAnywhere(ctx, name, req)
}

// createAnywhere tries the nodes that may have the volume until one has room.
func (f *Fleet) createAnywhere(ctx context.Context, name string, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	choice, err := f.choose(req)
	if err != nil {
		return nil, err
	}
	var refused []string
	for {
		n, done := choice.next(ctx)
		if n == nil {
			break
		}
		resp, err := f.createOn(ctx, n, name, req)
		done(err == nil)
		if status.Code(err) != codes.ResourceExhausted {
			return resp, err
		}
		if refused = append(refused, n.name+": "+status.Convert(err).Message()); len(refused) > maxRefused {
			break
		}
	}
	if len(refused) == 0 {
		return nil, choice.nowhere()
	}
	return nil, volume.Errorf(volume.Full, "no node has room for volume %q: %s", req.GetName(), strings.Join(refused, "; "))
}

// maxRefused is how many nodes are asked for room before a create gives up: those that said how much they
// have were asked in that order, so that the others have less.
const maxRefused = 5

// createOn makes the volume on a node, and notes how that ended.
func (f *Fleet) createOn(ctx context.Context, n *node, name string, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	f.mu.Lock()
	f.undecided[name] = n.name // until there is an answer, it may come to be there
	f.mu.Unlock()
	resp, err := pass(ctx, n, n.controller.CreateVolume, req)
	if err == nil {
		n.madeVolume(name)
	}
	if !uncertain(err) {
		f.decided(name)
	}
	return resp, err
}

func (f *Fleet) decided(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.undecided, name)
}

// holder returns the node that has a volume of that name, or may have; nil if none does. The kind of its
// error is Unavailable where that node is not connected: making the volume elsewhere would make it twice.
func (f *Fleet) holder(name string) (*node, error) {
	f.mu.Lock()
	maybe := f.undecided[name]
	f.mu.Unlock()
	if maybe != "" {
		n, err := f.node(maybe)
		if err != nil {
			return nil, volume.Errorf(volume.Unavailable, "volume %q may have been made there already: %w", name, err)
		}
		return n, nil
	}
	for _, n := range f.members() {
		if n.hasVolume(name) {
			return n, nil
		}
	}
	return nil, nil
}

// sourceNode returns the node of what the volume is to be a copy of; nil where it is to be empty.
func (f *Fleet) sourceNode(req *csi.CreateVolumeRequest) (*node, error) {
	source := req.GetVolumeContentSource()
	handle := source.GetSnapshot().GetSnapshotId()
	if handle == "" {
		handle = source.GetVolume().GetVolumeId()
	}
	if handle == "" {
		return nil, nil // also a source that says nothing: the node refuses it
	}
	id, err := volume.ParseID(handle)
	if err != nil {
		return nil, err
	}
	return f.node(id.Node)
}

// refresh asks all nodes again what they have, where another replica may have been the one at work since
// this one was. It waits for nodes that have just connected to have been asked at all.
func (f *Fleet) refresh(ctx context.Context) {
	f.mu.Lock()
	stale := time.Since(f.active) > f.config.Quiet
	f.mu.Unlock()
	all := f.members()
	if stale {
		each(all, func(n *node) { n.reload(ctx) })
	}
	for _, n := range all {
		select {
		case <-n.loaded:
		case <-n.left.Done():
		case <-ctx.Done():
		}
	}
}
