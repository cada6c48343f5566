package controller

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// GetSnapshot returns one snapshot, whether it was taken alone or in a group.
func (s *Server) GetSnapshot(ctx context.Context, req *csi.GetSnapshotRequest) (*csi.GetSnapshotResponse, error) {
	if err := required("snapshot_id", req.GetSnapshotId()); err != nil {
		return nil, err
	}
	sn, err := s.findSnapshot(ctx, req.GetSnapshotId())
	if err == nil {
		err = sn.Intact()
	}
	if err != nil {
		return nil, err
	}
	return &csi.GetSnapshotResponse{Snapshot: s.snapshot(sn)}, nil
}

// findSnapshot returns the snapshot that a handle names, NotFound if there is none.
func (s *Server) findSnapshot(ctx context.Context, handle string) (volume.Snapshot, error) {
	id, err := volume.ParseID(handle)
	if err != nil {
		return volume.Snapshot{}, err
	}
	return s.getSnapshot(ctx, id)
}

func (s *Server) getSnapshot(ctx context.Context, id volume.ID) (volume.Snapshot, error) {
	p, err := s.pools.SnapshotterOf(id)
	if volume.Is(err, volume.Unsupported) {
		return volume.Snapshot{}, volume.Errorf(volume.NotFound, "snapshot %q is not there: %w", id, err)
	}
	if err != nil {
		return volume.Snapshot{}, err
	}
	return p.GetSnapshot(ctx, id)
}
