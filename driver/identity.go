package driver

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/loam-storage/loam/driver/volume"
)

// identity is the CSI Identity service.
type identity struct {
	csi.UnimplementedIdentityServer
	version string
	ready   func(context.Context) error // nil: always
}

// GetPluginInfo returns the name and the version.
func (s *identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: volume.DriverName, VendorVersion: s.version}, nil
}

// GetPluginCapabilities returns the same on every instance of a version, whatever it serves (spec,
// "GetPluginCapabilities").
func (s *identity) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	var all []*csi.PluginCapability
	for _, t := range []csi.PluginCapability_Service_Type{
		csi.PluginCapability_Service_CONTROLLER_SERVICE,
		csi.PluginCapability_Service_VOLUME_ACCESSIBILITY_CONSTRAINTS,
		csi.PluginCapability_Service_GROUP_CONTROLLER_SERVICE,
		csi.PluginCapability_Service_SNAPSHOT_ACCESSIBILITY_CONSTRAINTS,
	} {
		all = append(all, &csi.PluginCapability{Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: t}}})
	}
	all = append(all, &csi.PluginCapability{Type: &csi.PluginCapability_VolumeExpansion_{
		VolumeExpansion: &csi.PluginCapability_VolumeExpansion{Type: csi.PluginCapability_VolumeExpansion_ONLINE}}})
	return &csi.GetPluginCapabilitiesResponse{Capabilities: all}, nil
}

// Probe says whether calls can succeed: not ready while something is still coming up, and an error of
// the kind InUse (FAILED_PRECONDITION, as the spec has it) where something is broken.
func (s *identity) Probe(ctx context.Context, _ *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	if s.ready == nil {
		return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
	}
	err := s.ready(ctx)
	switch {
	case ctx.Err() != nil: // the caller is gone, and what it asked for says nothing
		return nil, ctx.Err()
	case err != nil && !volume.Is(err, volume.Unavailable):
		return nil, volume.Errorf(volume.InUse, "loam is not healthy: %w", err)
	}
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(err == nil)}, nil
}
