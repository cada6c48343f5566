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
	name := volume.NameFor(req.GetName())
	release, err := f.hold("volume", name)
	if err != nil {
		return nil, err
	}
	defer release()
	f.hear(ctx)
	resp, err := f.create(ctx, name, req)
	if ctx.Err() == nil {
		f.ended()
	}
	return resp, err
}

func (f *Fleet) create(ctx context.Context, name string, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	for full := map[string]bool{}; ; { // nodes that had no such volume after all, and could not make it
		holder, err := f.holder(ctx, name, req)
		if err != nil {
			return nil, err
		}
		if holder == nil || full[holder.name] {
			break
		}
		resp, err := f.createOn(ctx, holder, name, req)
		if err == nil {
			err = mayHave(holder, name, "", req)
		}
		if status.Code(err) != codes.ResourceExhausted {
			return resp, err
		}
		full[holder.name] = true // another one may have it
	}
	source, err := f.sourceNode(ctx, req)
	switch {
	case err != nil:
		return nil, err
	case source != nil:
		return f.createOn(ctx, source, name, req)
	}
	return f.createAnywhere(ctx, name, req)
}

// holder returns the node that has the volume, or may: that of an attempt of this replica, else one that says so; nil if there is
// none.
func (f *Fleet) holder(ctx context.Context, name string, req *csi.CreateVolumeRequest) (*node, error) {
	if n, err := f.tried(ctx, name); n != nil || err != nil {
		return n, err
	}
	return f.claimant(ctx, name, req)
}

// createAnywhere tries the nodes that may have the volume until one has room.
func (f *Fleet) createAnywhere(ctx context.Context, name string, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	choice, err := f.choose(req)
	if err != nil {
		return nil, err
	}
	if err := f.settledPools(ctx, choice); err != nil {
		return nil, err
	}
	var full []string
	var hidden error
	for {
		n, done := choice.next(ctx)
		if n == nil {
			break
		}
		if err := f.unreadable(ctx, n, choice.kind.pool); err != nil {
			done(false)
			hidden = err
			continue
		}
		resp, err := f.createOn(ctx, n, name, req)
		done(err == nil)
		if status.Code(err) != codes.ResourceExhausted {
			return resp, err
		}
		full = append(full, n.name+": "+status.Convert(err).Message())
	}
	switch {
	case hidden != nil: // it may have room when it is read again
		return nil, hidden
	case len(full) > 0:
		return nil, volume.Errorf(volume.Full, "no node has room for volume %q: %s", req.GetName(), strings.Join(full, "; "))
	case len(choice.lacking) > 0 && !choice.poolElsewhere(ctx):
		return f.createOn(ctx, choice.lacking[0], name, req) // which says what is wrong with the parameters
	}
	return nil, choice.nowhere()
}

// createOn makes the volume on a node, and notes how that ended. Nothing is begun for a caller that has left: it may be
// asking another replica already.
func (f *Fleet) createOn(ctx context.Context, n *node, name string, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	n = f.current(n)
	last := attempt{node: n.name, pool: volume.OwnParameters(req.GetParameters())[volume.KeyPool]}
	f.trying(name, last)
	resp, err := pass(ctx, n, n.controller.CreateVolume, req)
	switch endingOf(err) {
	case made:
		if id, err := volume.ParseID(resp.GetVolume().GetVolumeId()); err == nil {
			n.contents.note(aVolume(name), id.Pool)
		}
		f.decided(name, n.name)
	case refused:
		if status.Code(err) == codes.ResourceExhausted {
			n.contents.note(aVolume(name), "") // else it would have said what it has
		}
		f.decided(name, n.name)
	case failed:
		last.ask = true
		f.trying(name, last)
	case open:
	}
	return resp, err
}

// tried returns the node on which this replica has tried to make the volume, if it may have it; nil otherwise. The kind of its
// error is Unavailable where that node is not connected, or cannot read the pool: making the volume elsewhere would make it twice.
func (f *Fleet) tried(ctx context.Context, name string) (*node, error) {
	f.mu.Lock()
	last, tried := f.undecided[name]
	f.mu.Unlock()
	if !tried {
		return nil, nil
	}
	n, err := f.node(last.node)
	switch {
	case f.ignored(last.node):
	case err != nil && !f.gone(ctx, last.node):
		return nil, volume.Errorf(volume.Unavailable, "volume %q may have been made there already: %w", name, err)
	case err == nil && !(last.ask && f.hearFrom(ctx, n, time.Now()) && !n.contents.holds(aVolume(name))):
		return n, f.hidden(ctx, n, name)
	case err == nil:
		if err := f.undecidedIn(n, name, last.pool); err != nil {
			return nil, err
		}
	case err != nil:
		f.config.Cluster.Report(ctx, "NodeGone", "volume "+name+" is made on another node: it may be on node "+last.node+", which the cluster has no more")
	}
	f.decided(name, last.node)
	return nil, nil
}

// heldAway says that a node which has left had the volume. The kind of its error is Unavailable. What was on one that
// the cluster has no more is forgotten.
func (f *Fleet) heldAway(ctx context.Context, name string) error {
	for _, c := range f.names.holders(aVolume(name)) {
		node := c.node
		f.mu.Lock()
		away := f.away[node] == c
		f.mu.Unlock()
		if !away || f.ignored(node) {
			continue
		}
		if !f.gone(ctx, node) {
			return volume.Errorf(volume.Unavailable, "volume %q is on node %q, which has left: start loam node there, or remove the node from the cluster; if it is not to be believed, start the controllers with --ignore-node %s", name, node, node)
		}
		f.forget(node)
	}
	return nil
}

// sourceNode returns the node of what the volume is to be a copy of; nil where it is to be empty. The kind of its error
// is Unavailable where that is not connected, NotFound where the cluster has it no more.
func (f *Fleet) sourceNode(ctx context.Context, req *csi.CreateVolumeRequest) (*node, error) {
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
	n, err := f.node(id.Node)
	if err != nil && f.gone(ctx, id.Node) {
		return nil, volume.Errorf(volume.NotFound, "source %q was on node %q, which the cluster has no more", handle, id.Node)
	}
	return n, err
}
