package driver

import (
	"context"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"

	"github.com/loam-storage/loam/driver/volume"
)

func info(method string) *grpc.UnaryServerInfo {
	return &grpc.UnaryServerInfo{FullMethod: "/csi.v1.Any/" + method}
}

func mustName(t *testing.T, req any) names {
	t.Helper()
	n, err := namesOf(req)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// requests returns an empty request for each method of the services that are served.
func requests(t *testing.T) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, service := range []grpc.ServiceDesc{csi.Identity_ServiceDesc, csi.Controller_ServiceDesc, csi.GroupController_ServiceDesc, csi.Node_ServiceDesc} {
		if len(service.Streams) != 0 {
			t.Errorf("%s has streams, which pass no interceptor here", service.ServiceName)
		}
		for _, method := range service.Methods {
			_, err := method.Handler(nil, t.Context(), func(any) error { return nil },
				func(_ context.Context, req any, i *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
					all[path.Base(i.FullMethod)] = req
					return nil, nil
				})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

func TestEveryMethodIsClassified(t *testing.T) {
	reading := regexp.MustCompile(`^(?:Controller|Node|GroupController)?(?:Get|List|Validate|Probe)`)
	all := requests(t)
	if len(all) < 30 {
		t.Fatalf("only %d methods were found", len(all))
	}
	for method, req := range all {
		n, err := namesOf(req)
		if err != nil {
			t.Errorf("%s: %v", method, err)
		} else if n.reads != reading.MatchString(method) {
			t.Errorf("%s reads only: %t", method, n.reads)
		}
	}
	if _, err := namesOf(&csi.GetMetadataAllocatedRequest{}); !volume.Is(err, volume.Internal) {
		t.Errorf("a request that nobody has classified: %v", err)
	}
}

func TestWhatEachMethodHolds(t *testing.T) {
	inline := "csi-" + strings.Repeat("a", 64)
	long := strings.Repeat("n", 128)
	copyOfSnapshot := &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: handle("s")}}}
	copyOfVolume := &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: handle("w")}}}
	aFilesystem := func(mode csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability {
		return &csi.VolumeCapability{AccessType: &csi.VolumeCapability_Mount{}, AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode}}
	}
	aDevice := &csi.VolumeCapability{AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER}}
	member := func(v string) string { return "snapshot " + volume.MemberName("g", v) }
	seen := map[string]bool{}
	for _, c := range []struct {
		req               any
		exclusive, shared []string
	}{
		{&csi.CreateVolumeRequest{Name: "v"}, []string{"volume v"}, nil},
		{&csi.CreateVolumeRequest{Name: long}, []string{"volume " + volume.NameFor(long)}, nil},
		{&csi.CreateVolumeRequest{}, nil, nil},
		{&csi.CreateVolumeRequest{Name: "v", VolumeContentSource: copyOfSnapshot}, []string{"volume v"}, []string{"snapshot s"}},
		{&csi.CreateVolumeRequest{Name: "v", VolumeContentSource: copyOfVolume}, []string{"volume v"}, []string{"volume w"}},
		{&csi.DeleteVolumeRequest{VolumeId: handle("v")}, []string{"volume v"}, nil},
		{&csi.ControllerPublishVolumeRequest{VolumeId: handle("v")}, []string{"volume v"}, nil},
		{&csi.ControllerUnpublishVolumeRequest{VolumeId: handle("v")}, []string{"volume v"}, nil},
		{&csi.ControllerExpandVolumeRequest{VolumeId: handle("v")}, []string{"volume v"}, nil},
		{&csi.ControllerModifyVolumeRequest{VolumeId: handle("v")}, []string{"volume v"}, nil},
		{&csi.NodeStageVolumeRequest{VolumeId: handle("v")}, []string{"volume v"}, nil},
		{&csi.NodeUnstageVolumeRequest{VolumeId: handle("v")}, []string{"volume v"}, nil},
		{&csi.NodePublishVolumeRequest{VolumeId: handle("v"), TargetPath: "/pods/1/"}, []string{"target_path /pods/1"}, []string{"volume v"}},
		{&csi.NodePublishVolumeRequest{VolumeId: handle("v"), TargetPath: "/pods/1", VolumeCapability: aFilesystem(csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER)},
			[]string{"target_path /pods/1"}, []string{"volume v"}},
		{&csi.NodePublishVolumeRequest{VolumeId: handle("v"), TargetPath: "/pods/1", VolumeCapability: aFilesystem(csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER)},
			[]string{"volume v"}, nil},
		{&csi.NodePublishVolumeRequest{VolumeId: handle("v"), TargetPath: "/pods/1", VolumeCapability: aFilesystem(csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER)},
			[]string{"volume v"}, nil},
		{&csi.NodePublishVolumeRequest{VolumeId: handle("v"), TargetPath: "/pods/1", VolumeCapability: aDevice}, []string{"volume v"}, nil},
		{&csi.NodePublishVolumeRequest{VolumeId: handle("v")}, nil, []string{"volume v"}},
		{&csi.NodeUnpublishVolumeRequest{VolumeId: handle("v"), TargetPath: "/pods/1"}, []string{"target_path /pods/1"}, []string{"volume v"}},
		{&csi.NodePublishVolumeRequest{VolumeId: inline}, []string{"volume " + volume.NameFor(inline)}, nil},
		{&csi.NodeUnpublishVolumeRequest{VolumeId: inline}, []string{"volume " + volume.NameFor(inline)}, nil},
		{&csi.NodeExpandVolumeRequest{VolumeId: handle("v")}, []string{"volume v"}, nil},
		{&csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: handle("v")}, []string{"snapshot s"}, []string{"volume v"}},
		{&csi.DeleteSnapshotRequest{SnapshotId: handle("s")}, []string{"snapshot s"}, nil},
		{&csi.DeleteSnapshotRequest{SnapshotId: "../s"}, []string{"snapshot " + volume.NameFor("../s")}, nil},
		{&csi.CreateVolumeGroupSnapshotRequest{Name: "g", SourceVolumeIds: []string{handle("v"), handle("w")}},
			[]string{"group g", member("v"), member("w")}, []string{"volume v", "volume w"}},
		{&csi.DeleteVolumeGroupSnapshotRequest{GroupSnapshotId: handle("g"), SnapshotIds: []string{handle("s"), handle("t")}},
			[]string{"group g", "snapshot s", "snapshot t"}, nil},
	} {
		n := mustName(t, c.req)
		slices.Sort(n.exclusive)
		slices.Sort(c.exclusive)
		if n.reads || !slices.Equal(n.exclusive, c.exclusive) || !slices.Equal(n.shared, c.shared) {
			t.Errorf("%T %v holds %+v", c.req, c.req, n)
		}
		seen[reflect.TypeOf(c.req).String()] = true
	}
	for method, req := range requests(t) {
		if n := mustName(t, req); !n.reads && !seen[reflect.TypeOf(req).String()] {
			t.Errorf("%s changes something and is not in this table", method)
		}
	}
}
