package controller

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/pool"
)

// DeleteSnapshot removes a snapshot. One that is not there is removed already.
func (s *Server) DeleteSnapshot(ctx context.Context, req *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	if err := required("snapshot_id", req.GetSnapshotId()); err != nil {
		return nil, err
	}
	p, id, err := s.toRemove(req.GetSnapshotId())
	if err != nil {
		return nil, err
	}
	if snapshots, ok := p.(pool.Snapshotter); ok { // else there can be none
		if err := snapshots.DeleteSnapshot(ctx, id); err != nil {
			return nil, err
		}
	}
	return &csi.DeleteSnapshotResponse{}, nil
}
