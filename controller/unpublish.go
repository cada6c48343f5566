package controller

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// ControllerUnpublishVolume makes the block device of a volume go. A volume is never attached to
// another node than the one that it is on, so there is nothing to do for any other.
func (s *Server) ControllerUnpublishVolume(ctx context.Context, req *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	if err := required("volume_id", req.GetVolumeId()); err != nil {
		return nil, err
	}
	id, err := volume.ParseID(req.GetVolumeId())
	if err != nil || (req.GetNodeId() != "" && req.GetNodeId() != id.Node) {
		return &csi.ControllerUnpublishVolumeResponse{}, nil
	}
	p, id, err := s.toRemove(req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if err := p.Detach(ctx, id); err != nil {
		return nil, err
	}
	return &csi.ControllerUnpublishVolumeResponse{}, nil
}
