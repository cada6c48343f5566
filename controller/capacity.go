package controller

import (
	"context"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/loam-storage/loam/driver/capability"
	"github.com/loam-storage/loam/driver/volume"
)

// GetCapacity returns what volumes of the given kind may still take on this machine. Where none can
// be made at all, on another node or in a pool that this node lacks, that is 0 and no error: a
// cluster asks every node about every storage class.
func (s *Server) GetCapacity(ctx context.Context, req *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	capabilities, own := withoutOrchestrators(req)
	parameters, _, err := parseParameters(own, nil)
	if err != nil {
		return nil, err
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

// withoutOrchestrators returns the capabilities and the parameters of a request without what is for the
// orchestrator in these. The external-provisioner takes its own keys out of a StorageClass before it creates
// a volume, and not before it asks for room; the file system is one of them.
func withoutOrchestrators(req *csi.GetCapacityRequest) ([]*csi.VolumeCapability, map[string]string) {
	const orchestrators, fsType = "csi.storage.k8s.io/", "csi.storage.k8s.io/fstype"
	capabilities, own := req.GetVolumeCapabilities(), map[string]string{}
	for key, value := range req.GetParameters() {
		if !strings.HasPrefix(key, orchestrators) {
			own[key] = value
		}
	}
	if asked := req.GetParameters()[fsType]; asked != "" {
		capabilities = append(slices.Clone(capabilities), &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: asked}},
		})
	}
	return capabilities, own
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
