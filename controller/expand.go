package controller

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/capability"
	"github.com/loam-storage/loam/driver/volume"
)

// ControllerExpandVolume makes a volume larger, and its device with it. A mounted file system grows
// in NodeExpandVolume.
func (s *Server) ControllerExpandVolume(ctx context.Context, req *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	size, access, err := parseExpand(req)
	if err != nil {
		return nil, s.aboutVolume(ctx, req.GetVolumeId(), err)
	}
	p, v, err := s.pools.Find(ctx, req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if err := suits(v, access); err != nil {
		return nil, err
	}
	// Also where it is as large already: the call that grew it may have been cut off before its device.
	if v, err = p.Expand(ctx, v.ID, size); err != nil {
		return nil, err
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: int64(v.Size), NodeExpansionRequired: !access.Block}, nil
}

// parseExpand reads the request. Without a capability the volume may be mounted, so the access is
// that of a mount.
func parseExpand(req *csi.ControllerExpandVolumeRequest) (size volume.Range, access volume.Access, err error) {
	if err := required("volume_id", req.GetVolumeId()); err != nil {
		return size, access, err
	}
	size = parseRange(req.GetCapacityRange())
	if size == (volume.Range{}) {
		return size, access, volume.Errorf(volume.Invalid, "capacity_range is missing: it says how large the volume is to be")
	}
	if err := size.Check(); err != nil {
		return size, access, err
	}
	if c := req.GetVolumeCapability(); c != nil {
		access, err = capability.Parse(c)
	}
	return size, access, err
}
