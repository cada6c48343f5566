package fleet

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"

	"github.com/loam-storage/loam/driver/volume"
)

// CreateSnapshot takes a snapshot on the node of the volume.
func (f *Fleet) CreateSnapshot(ctx context.Context, req *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	defer f.changing()()
	if err := volume.CheckRequestName(req.GetName()); err != nil {
		return nil, err
	}
	name := volume.NameFor(req.GetName())
	resp, err := byHandle(ctx, f, "source_volume_id", req.GetSourceVolumeId(), func(n *node) call[*csi.CreateSnapshotRequest, *csi.CreateSnapshotResponse] {
		return func(ctx context.Context, req *csi.CreateSnapshotRequest, opts ...grpc.CallOption) (*csi.CreateSnapshotResponse, error) {
			if other := f.snapshotElsewhere(n, name); other != nil {
				return nil, volume.Errorf(volume.Exists, "snapshot %q exists already on node %q, and not of volume %q", req.GetName(), other.name, req.GetSourceVolumeId())
			}
			resp, err := n.controller.CreateSnapshot(ctx, req, opts...)
			if err == nil {
				n.madeSnapshot(name)
			}
			return resp, err
		}
	}, req)
	return resp, err
}

// snapshotElsewhere returns another node than n that has a snapshot of that name.
func (f *Fleet) snapshotElsewhere(n *node, name string) *node {
	for _, other := range f.members() {
		if other.name != n.name && other.hasSnapshot(name) {
			return other
		}
	}
	return nil
}

// CreateVolumeGroupSnapshot takes snapshots of several volumes, all of one node: there is no instant that
// two machines share. The kind of its error is Invalid where they are not.
func (f *Fleet) CreateVolumeGroupSnapshot(ctx context.Context, req *csi.CreateVolumeGroupSnapshotRequest) (*csi.CreateVolumeGroupSnapshotResponse, error) {
	defer f.changing()()
	first := ""
	for i, handle := range req.GetSourceVolumeIds() {
		id, err := volume.ParseID(handle)
		switch {
		case err != nil && handle != "":
			return nil, err
		case err != nil:
			return nil, volume.Errorf(volume.Invalid, "one of source_volume_ids is missing")
		case i > 0 && id.Node != first:
			return nil, volume.Errorf(volume.Invalid, "volumes %q and %q are on different nodes: a group of snapshots is of one instant, which two nodes do not share", req.GetSourceVolumeIds()[0], handle)
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
		for _, s := range resp.GetGroupSnapshot().GetSnapshots() {
			if id, err := volume.ParseID(s.GetSnapshotId()); err == nil {
				n.madeSnapshot(id.Name)
			}
		}
	}
	return resp, err
}

// GetVolumeGroupSnapshot tells of one group.
func (f *Fleet) GetVolumeGroupSnapshot(ctx context.Context, req *csi.GetVolumeGroupSnapshotRequest) (*csi.GetVolumeGroupSnapshotResponse, error) {
	return byHandle(ctx, f, "group_snapshot_id", req.GetGroupSnapshotId(), func(n *node) call[*csi.GetVolumeGroupSnapshotRequest, *csi.GetVolumeGroupSnapshotResponse] {
		return n.group.GetVolumeGroupSnapshot
	}, req)
}
