package controller

import (
	"context"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/loam-storage/loam/driver/capability"
	"github.com/loam-storage/loam/driver/volume"
)

// GetCapacity returns what volumes of the given kind may still take on this machine. Where none can
// be made at all, on another node or in a pool that this node lacks, that is 0 and no error: a
// cluster asks every node about every storage class.
func (s *Server) GetCapacity(ctx context.Context, req *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	parameters, _, err := parseParameters(volume.OwnParameters(req.GetParameters()), nil)
	if err != nil {
		return nil, err
	}
	capabilities := req.GetVolumeCapabilities()
	if asked := volume.FSTypeOf(req.GetParameters()); asked != "" {
		capabilities = append(slices.Clone(capabilities), &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: asked}},
		})
	}
	fsType, servable := servableAs(capabilities)
	p, err := s.pools.Named(parameters.Pool)
	if err != nil || !servable || !s.isHere(req.GetAccessibleTopology()) {
		return &csi.GetCapacityResponse{}, nil
	}
	status, err := p.Status(ctx)
	if err != nil {
		return nil, err
	}
	least := max(status.LeastBytes, fsType.Least())
	if status.LargestBytes < least {
		return &csi.GetCapacityResponse{MinimumVolumeSize: wrapperspb.Int64(int64(least))}, nil
	}
	return &csi.GetCapacityResponse{
		AvailableCapacity: max(0, int64(status.FreeBytes)),
		MaximumVolumeSize: wrapperspb.Int64(int64(status.LargestBytes)),
		MinimumVolumeSize: wrapperspb.Int64(int64(least)),
	}, nil
}

// servableAs reports whether a volume can have all the capabilities, and the file system that they
// name. What a capability leaves open restricts nothing: the external-provisioner asks with access
// mode UNKNOWN and an empty mount.
func servableAs(capabilities []*csi.VolumeCapability) (volume.FSType, bool) {
	var accesses []volume.Access
	for _, c := range capabilities {
		asked := &csi.VolumeCapability{AccessType: c.GetAccessType(), AccessMode: c.GetAccessMode()}
		if asked.AccessType == nil {
			asked.AccessType = &csi.VolumeCapability_Mount{}
		}
		if asked.GetAccessMode().GetMode() == csi.VolumeCapability_AccessMode_UNKNOWN {
			asked.AccessMode = &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER}
		}
		access, err := capability.Parse(asked)
		if err != nil {
			return "", false
		}
		accesses = append(accesses, access)
	}
	fsType, err := fsTypeOf(accesses)
	return fsType, err == nil
}
