package node

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// NodeGetInfo says which machine this is and how many volumes it takes.
func (s *Server) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{
		NodeId:             s.pools.Node(),
		MaxVolumesPerNode:  int64(s.maxVolumes),
		AccessibleTopology: &csi.Topology{Segments: map[string]string{volume.TopologyKey: s.pools.Node()}},
	}, nil
}
