package fleet

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// DeleteVolume removes a volume. Where its node no longer exists in the cluster there is nobody left to
// ask, and the volume counts as removed: the orchestrator could never let go of it otherwise. The data
// stays on the disk; should the node come back, the volume is one that nobody knows.
func (f *Fleet) DeleteVolume(ctx context.Context, req *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	n, id, err := f.toRemove(ctx, "volume_id", req.GetVolumeId())
	if err != nil || n == nil {
		return &csi.DeleteVolumeResponse{}, err
	}
	resp, err := pass(ctx, n, n.controller.DeleteVolume, req)
	if err == nil {
		n.contents.note(aVolume(id.Name), "")
		n.forgetRoom()
		f.decided(id.Name, n.name)
	}
	return resp, err
}

// DeleteSnapshot removes a snapshot, as DeleteVolume does a volume.
func (f *Fleet) DeleteSnapshot(ctx context.Context, req *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	n, id, err := f.toRemove(ctx, "snapshot_id", req.GetSnapshotId())
	if err != nil || n == nil {
		return &csi.DeleteSnapshotResponse{}, err
	}
	resp, err := pass(ctx, n, n.controller.DeleteSnapshot, req)
	if err == nil {
		n.contents.note(aSnapshot(id.Name), "")
		n.forgetRoom()
	}
	return resp, err
}

// DeleteVolumeGroupSnapshot removes a group of snapshots, as DeleteVolume does a volume.
func (f *Fleet) DeleteVolumeGroupSnapshot(ctx context.Context, req *csi.DeleteVolumeGroupSnapshotRequest) (*csi.DeleteVolumeGroupSnapshotResponse, error) {
	n, _, err := f.toRemove(ctx, "group_snapshot_id", req.GetGroupSnapshotId())
	if err != nil || n == nil {
		return &csi.DeleteVolumeGroupSnapshotResponse{}, err
	}
	resp, err := pass(ctx, n, n.group.DeleteVolumeGroupSnapshot, req)
	if err == nil {
		n.noteSnapshots(req.GetSnapshotIds(), false)
	}
	return resp, err
}

// ControllerUnpublishVolume detaches a volume. A node that no longer exists has nothing attached.
func (f *Fleet) ControllerUnpublishVolume(ctx context.Context, req *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	n, _, err := f.toRemove(ctx, "volume_id", req.GetVolumeId())
	if err != nil || n == nil {
		return &csi.ControllerUnpublishVolumeResponse{}, err
	}
	return pass(ctx, n, n.controller.ControllerUnpublishVolume, req)
}

// toRemove returns the node to ask; none where the handle cannot name anything or its node is gone for
// good. The kind of its error is Invalid where the handle is missing, and Unavailable where the node is
// not connected and exists, or may.
func (f *Fleet) toRemove(ctx context.Context, field, handle string) (*node, volume.ID, error) {
	if handle == "" {
		return nil, volume.ID{}, volume.Errorf(volume.Invalid, "%s is missing", field)
	}
	id, err := volume.ParseID(handle)
	if err != nil {
		return nil, volume.ID{}, nil
	}
	n, unreachable := f.node(id.Node)
	if unreachable == nil {
		return n, id, nil
	}
	if f.config.Cluster == nil {
		return nil, id, unreachable
	}
	exists, err := f.config.Cluster.HasNode(ctx, id.Node)
	switch {
	case err != nil:
		return nil, id, volume.Errorf(volume.Unavailable, "%w; whether the cluster still has it cannot be told: %w", unreachable, err)
	case exists:
		return nil, id, unreachable
	}
	f.config.Cluster.Report(ctx, "NodeGone", fmt.Sprintf("%s %q counts as removed: the cluster has no node %q any more. What is on its disk stays there", what(field), handle, id.Node))
	f.decided(id.Name, id.Node)
	f.forget(id.Node)
	return nil, id, nil
}

// what returns what the handle in a field of a request names.
func what(field string) string {
	switch field {
	case "volume_id":
		return "volume"
	case "snapshot_id":
		return "snapshot"
	}
	return "group snapshot"
}
