package controller

import (
	"context"
	"strconv"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/capability"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// ControllerPublishVolume makes the block device of a volume appear on its machine.
func (s *Server) ControllerPublishVolume(ctx context.Context, req *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	if err := required("volume_id", req.GetVolumeId()); err != nil {
		return nil, err
	}
	if err := required("node_id", req.GetNodeId()); err != nil {
		return nil, err
	}
	access, err := capability.Parse(req.GetVolumeCapability())
	if err != nil {
		return nil, s.aboutVolume(ctx, req.GetVolumeId(), err)
	}
	p, v, err := s.pools.Find(ctx, req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if req.GetNodeId() != s.pools.Node() {
		return nil, volume.Errorf(volume.NotFound, "node %.128q does not have volume %q: it is on node %q", req.GetNodeId(), v.ID, s.pools.Node())
	}
	if err := suits(v, access); err != nil {
		if v.Attached() {
			return nil, volume.Errorf(volume.Exists, "volume %q is published already: %w", v.ID, err)
		}
		return nil, err
	}
	if err := mountable(v, access); err != nil {
		return nil, err
	}
	// Only the device itself can keep a block volume from being written, a mount does it on its own.
	readOnly := req.GetReadonly() || (access.Block && access.ReadOnly())
	if err := s.attach(ctx, p, v, readOnly); err != nil {
		return nil, err
	}
	return &csi.ControllerPublishVolumeResponse{
		PublishContext: map[string]string{volume.ContextReadOnly: strconv.FormatBool(readOnly)},
	}, nil
}

// attach attaches v if there may be one more. The kind of its error is Full if there may not.
func (s *Server) attach(ctx context.Context, p pool.Pool, v volume.Volume, readOnly bool) error {
	if s.maxVolumes > 0 && !v.Attached() {
		s.attaching.Lock() // else two calls could both count themselves the last one
		defer s.attaching.Unlock()
		attached, err := s.countAttached(ctx)
		if err != nil {
			return err
		}
		if attached >= s.maxVolumes {
			return volume.Errorf(volume.Full, "volume %q cannot be attached: node %q has %d volumes attached, and %d is the most it may have",
				v.ID, s.pools.Node(), attached, s.maxVolumes)
		}
	}
	_, err := p.Attach(ctx, v.ID, readOnly)
	return err
}

// countAttached counts in all pools that can be read: those that a dead disk hides are no reason to attach nothing.
func (s *Server) countAttached(ctx context.Context) (int, error) {
	count := 0
	for _, p := range s.pools.All() {
		volumes, err := p.List(ctx, "", 0)
		if err != nil && !volume.Is(err, volume.Unavailable) {
			return 0, err
		}
		for _, v := range volumes {
			if v.Attached() {
				count++
			}
		}
	}
	return count, nil
}
