package fleet

import (
	"context"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"

	"github.com/loam-storage/loam/driver/volume"
)

// CreateSnapshot takes a snapshot on the node of the volume.
func (f *Fleet) CreateSnapshot(ctx context.Context, req *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	if err := volume.CheckRequestName(req.GetName()); err != nil {
		return nil, err
	}
	name := volume.NameFor(req.GetName())
	release, err := f.hold("snapshot", name)
	if err != nil {
		return nil, err
	}
	defer release()
	return byHandle(ctx, f, "source_volume_id", req.GetSourceVolumeId(), func(n *node) call[*csi.CreateSnapshotRequest, *csi.CreateSnapshotResponse] {
		return func(ctx context.Context, req *csi.CreateSnapshotRequest, opts ...grpc.CallOption) (*csi.CreateSnapshotResponse, error) {
			if other := f.snapshotElsewhere(ctx, n, name); other != nil {
				return nil, volume.Errorf(volume.Exists, "snapshot %q is asked for of volume %q, and node %q says that it has one of that name: look there (loam snapshots), and delete it or, if the node is not to be believed, start the controllers with --ignore-node %s", req.GetName(), req.GetSourceVolumeId(), other.name, other.name)
			}
			resp, err := n.controller.CreateSnapshot(ctx, req, opts...)
			if err == nil {
				if id, err := volume.ParseID(resp.GetSnapshot().GetSnapshotId()); err == nil {
					n.contents.note(aSnapshot(name), id.Pool)
				}
				n.forgetRoom()
			}
			return resp, err
		}
	}, req)
}

// snapshotElsewhere returns another node than n that has a snapshot of that name, and has just said so. Where n has one too, which is
// what a repeated request finds, n decides.
func (f *Fleet) snapshotElsewhere(ctx context.Context, n *node, name string) *node {
	for _, c := range f.names.holders(aSnapshot(name)) {
		other, err := f.node(c.node)
		if err != nil {
			continue
		}
		has := func() bool {
			return other.name != n.name && !f.ignored(other.name) && other.contents.holds(aSnapshot(name))
		}
		if has() && f.hearFrom(ctx, other, time.Now()) && has() {
			if f.hearFrom(ctx, n, time.Now()) && n.contents.holds(aSnapshot(name)) {
				return nil
			}
			return other
		}
	}
	return nil
}

// CreateVolumeGroupSnapshot takes snapshots of several volumes, all of one node: there is no instant that
// two machines share. The kind of its error is InUse (FAILED_PRECONDITION in CSI) where they are not.
func (f *Fleet) CreateVolumeGroupSnapshot(ctx context.Context, req *csi.CreateVolumeGroupSnapshotRequest) (*csi.CreateVolumeGroupSnapshotResponse, error) {
	first := ""
	for i, handle := range req.GetSourceVolumeIds() {
		id, err := volume.ParseID(handle)
		switch {
		case err != nil && handle != "":
			return nil, err
		case err != nil:
			return nil, volume.Errorf(volume.Invalid, "one of source_volume_ids is missing")
		case i > 0 && id.Node != first:
			return nil, volume.Errorf(volume.InUse, "volumes %q and %q are on different nodes: a group of snapshots is of one instant, which two nodes do not share", req.GetSourceVolumeIds()[0], handle)
		}
		first = id.Node
	}
	if first == "" {
		return nil, volume.Errorf(volume.Invalid, "source_volume_ids are missing")
	}
	n, err := f.node(first)
	if err != nil {
		return nil, err
	}
	resp, err := pass(ctx, n, n.group.CreateVolumeGroupSnapshot, req)
	if err == nil {
		var taken []string
		for _, s := range resp.GetGroupSnapshot().GetSnapshots() {
			taken = append(taken, s.GetSnapshotId())
		}
		n.noteSnapshots(taken, true)
	}
	return resp, err
}

// GetVolumeGroupSnapshot tells of one group.
func (f *Fleet) GetVolumeGroupSnapshot(ctx context.Context, req *csi.GetVolumeGroupSnapshotRequest) (*csi.GetVolumeGroupSnapshotResponse, error) {
	return byHandle(ctx, f, "group_snapshot_id", req.GetGroupSnapshotId(), func(n *node) call[*csi.GetVolumeGroupSnapshotRequest, *csi.GetVolumeGroupSnapshotResponse] {
		return n.group.GetVolumeGroupSnapshot
	}, req)
}
