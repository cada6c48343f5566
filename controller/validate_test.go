package controller_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"

	"github.com/loam-storage/loam/driver/volume"
)

func TestCapabilitiesAreConfirmedOrTheMessageSaysWhyNot(t *testing.T) {
	m := newMachine(t)
	id := m.make(newVolume("v", func(r *csi.CreateVolumeRequest) {
		r.VolumeCapabilities, r.CapacityRange = caps(mount("ext4")), exactly(gib)
		r.Parameters = map[string]string{"mkfsOptions": "-m 1", "csi.storage.k8s.io/pvc/name": "c"}
	})).GetVolumeId()
	raw := m.create("fast", "raw").GetVolumeId()
	many := csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
	for _, c := range []struct {
		name string
		req  *csi.ValidateVolumeCapabilitiesRequest
		says string // empty where it is confirmed
	}{
		{"as created", &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: caps(mount("ext4"), mount("", "noatime"), block())}, ""},
		{"with parameters", &csi.ValidateVolumeCapabilitiesRequest{
			VolumeId: id, VolumeCapabilities: caps(mount("ext4")), Parameters: map[string]string{"mkfsOptions": "-m  1", "pool": "slow"},
			VolumeContext: map[string]string{"storage.kubernetes.io/csiProvisionerIdentity": "x"},
		}, ""},
		{"every single-node mode", &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: caps(
			withMode(mount(""), csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY),
			withMode(mount(""), csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER),
			withMode(block(), csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER),
		)}, ""},
		{"many nodes", &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: caps(mount(""), withMode(block(), many))}, "MULTI_NODE_MULTI_WRITER"},
		{"another file system", &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: caps(mount("xfs"))}, "created for ext4"},
		{"two file systems", &csi.ValidateVolumeCapabilitiesRequest{VolumeId: raw, VolumeCapabilities: caps(mount("xfs"), mount("ext4"))}, "xfs"},
		{"no room for xfs", &csi.ValidateVolumeCapabilitiesRequest{VolumeId: raw, VolumeCapabilities: caps(mount("xfs"))}, "300MiB"},
		{"unknown file system", &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: caps(mount("vfat"))}, "vfat"},
		{"mount flag", &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: caps(mount("", "loop"))}, "loop"},
		{"another pool", &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: caps(mount("")), Parameters: map[string]string{"pool": "fast", "mkfsOptions": "-m 1"}}, "fast"},
		{"other options", &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: caps(mount("")), Parameters: map[string]string{"mkfsOptions": "-m 2"}}, "mkfsOptions"},
		{"unknown parameter", &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: caps(mount("")), Parameters: map[string]string{"color": "red"}}, "color"},
		{"mutable parameter", &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: caps(mount("")), MutableParameters: map[string]string{"iops": "1"}}, "iops"},
	} {
		got, err := m.ValidateVolumeCapabilities(t.Context(), c.req)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		want := &csi.ValidateVolumeCapabilitiesResponse{Message: got.GetMessage()}
		if c.says == "" {
			want = &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
				VolumeContext: c.req.GetVolumeContext(), VolumeCapabilities: c.req.GetVolumeCapabilities(), Parameters: c.req.GetParameters(),
			}}
		}
		if !proto.Equal(got, want) || !strings.Contains(got.GetMessage(), c.says) || (c.says != "") != (got.GetMessage() != "") {
			t.Errorf("%s: %v, want %q", c.name, got, c.says)
		}
	}
	m.refuse([]refusal{{"no volume", volume.NotFound, "fake-vol-id", func(m *machine) (any, error) {
		return m.ValidateVolumeCapabilities(m.Context(), &csi.ValidateVolumeCapabilitiesRequest{VolumeId: "fake-vol-id", VolumeCapabilities: caps(mount(""))})
	}}})
}

// Each parameter that a StorageClass can have is compared, also one that is added later.
func TestEachParameterIsComparedWithThoseOfTheVolume(t *testing.T) {
	m := newMachine(t)
	id := m.create("slow", "v").GetVolumeId()
	values := map[string]string{"pool": "fast", "mkfsOptions": "-m 1", "allowBlockAsFilesystem": "true"}
	for field := range reflect.TypeFor[volume.Parameters]().Fields() {
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		got, err := m.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{
			VolumeId: id, VolumeCapabilities: caps(mount("")), Parameters: map[string]string{key: values[key]},
		})
		if err != nil || got.GetConfirmed() != nil || !strings.Contains(got.GetMessage(), key) {
			t.Errorf("with another %s: %v, %v", key, got, err)
		}
	}
}
