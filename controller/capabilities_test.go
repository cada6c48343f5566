package controller_test

import (
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestWhatIsNotAdvertisedIsNotServed(t *testing.T) {
	m := newMachine(t)
	advertised := map[string]bool{}
	answer, err := m.ControllerGetCapabilities(t.Context(), &csi.ControllerGetCapabilitiesRequest{})
	m.ok("ControllerGetCapabilities", err)
	for _, c := range answer.GetCapabilities() {
		advertised[c.GetRpc().GetType().String()] = true
	}
	for _, has := range []string{
		"CREATE_DELETE_VOLUME", "PUBLISH_UNPUBLISH_VOLUME", "PUBLISH_READONLY", "LIST_VOLUMES", "LIST_VOLUMES_PUBLISHED_NODES", "GET_CAPACITY",
		"CREATE_DELETE_SNAPSHOT", "LIST_SNAPSHOTS", "GET_SNAPSHOT", "CLONE_VOLUME", "EXPAND_VOLUME", "GET_VOLUME", "SINGLE_NODE_MULTI_WRITER",
	} {
		if !advertised[has] {
			t.Errorf("%s is not advertised", has)
		}
		delete(advertised, has)
	}
	if len(advertised) > 0 {
		t.Errorf("also advertised: %v", advertised)
	}
	groups, err := m.GroupControllerGetCapabilities(t.Context(), &csi.GroupControllerGetCapabilitiesRequest{})
	if err != nil || len(groups.GetCapabilities()) != 1 || groups.GetCapabilities()[0].GetRpc().GetType() != csi.GroupControllerServiceCapability_RPC_CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT {
		t.Errorf("GroupControllerGetCapabilities = %v, %v", groups, err)
	}
	for name, do := range map[string]func() (any, error){
		"ControllerModifyVolume": func() (any, error) {
			return m.ControllerModifyVolume(t.Context(), &csi.ControllerModifyVolumeRequest{VolumeId: "v"})
		},
		"ControllerGetVolumeHealth": func() (any, error) {
			return m.ControllerGetVolumeHealth(t.Context(), &csi.ControllerGetVolumeHealthRequest{VolumeId: "v"})
		},
		"ControllerListVolumeHealth": func() (any, error) {
			return m.ControllerListVolumeHealth(t.Context(), &csi.ControllerListVolumeHealthRequest{})
		},
	} {
		if _, err := do(); status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v", name, err)
		}
	}
}
