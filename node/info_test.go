package node_test

import (
	"slices"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

func TestInfoAndCapabilities(t *testing.T) {
	m := newMachine(t)
	info, err := m.NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
	m.ok("info", err)
	if info.GetNodeId() != nodeName || info.GetMaxVolumesPerNode() != 7 ||
		len(info.GetAccessibleTopology().GetSegments()) != 1 || info.GetAccessibleTopology().GetSegments()[volume.TopologyKey] != nodeName {
		t.Errorf("info: %v", info)
	}
	answer, err := m.NodeGetCapabilities(t.Context(), &csi.NodeGetCapabilitiesRequest{})
	m.ok("capabilities", err)
	var can []csi.NodeServiceCapability_RPC_Type
	for _, c := range answer.GetCapabilities() {
		can = append(can, c.GetRpc().GetType())
	}
	want := []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME, csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
		csi.NodeServiceCapability_RPC_EXPAND_VOLUME, csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	}
	if !slices.Equal(can, want) {
		t.Errorf("capabilities: %v", can)
	}
}
