package controller

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// DeleteVolume removes a volume. One that is not there is removed already.
func (s *Server) DeleteVolume(ctx context.Context, req *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if err := required("volume_id", req.GetVolumeId()); err != nil {
		return nil, err
	}
	p, id, err := s.toRemove(req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if p != nil {
		if err := p.Delete(ctx, id); err != nil {
			return nil, err
		}
	}
	return &csi.DeleteVolumeResponse{}, nil
}

// toRemove returns the pool and the ID of what a handle names and a caller wants to be gone; no pool
// where the handle cannot name anything. The kind of its error is Unavailable where it is on another
// node, or in a pool that is not configured: to answer that it is gone would make the orchestrator
// forget data that is still there.
func (s *Server) toRemove(handle string) (pool.Pool, volume.ID, error) {
	id, err := volume.ParseID(handle)
	if err != nil {
		return nil, volume.ID{}, nil
	}
	p, err := s.pools.Of(id)
	if err != nil {
		return nil, volume.ID{}, volume.Errorf(volume.Unavailable, "%w: whether it is gone cannot be told from here", err)
	}
	return p, id, nil
}
