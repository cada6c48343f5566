package controller_test

import (
	"math"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"

	"github.com/loam-storage/loam/driver/volume"
)

func TestExpandingAnswersTheSize(t *testing.T) {
	m := newMachine(t)
	id := m.create("fast", "v").GetVolumeId()
	m.publish(id, false)
	for _, c := range []struct {
		name   string
		size   *csi.CapacityRange
		access *csi.VolumeCapability
		want   int64
		node   bool
	}{
		{"mount", exactly(16 * mib), mount("ext4"), 16 * mib, true},
		{"again", exactly(16 * mib), mount("ext4"), 16 * mib, true},
		{"smaller", &csi.CapacityRange{RequiredBytes: mib}, mount(""), 16 * mib, true},
		{"only a limit", &csi.CapacityRange{LimitBytes: gib}, mount(""), 16 * mib, true},
		{"block", exactly(24 * mib), block(), 24 * mib, false},
		{"nothing said", &csi.CapacityRange{RequiredBytes: 32 * mib}, nil, 32 * mib, true},
	} {
		got, err := m.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: c.size, VolumeCapability: c.access})
		if want := (&csi.ControllerExpandVolumeResponse{CapacityBytes: c.want, NodeExpansionRequired: c.node}); err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, want)
		}
		if one, err := m.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: id}); err != nil || one.GetVolume().GetCapacityBytes() != c.want {
			t.Errorf("%s: afterwards it is %v, %v", c.name, one, err)
		}
	}
}

func TestWhatCannotBeExpandedIsRefused(t *testing.T) {
	m := newMachine(t)
	id := m.make(newVolume("v", func(r *csi.CreateVolumeRequest) {
		r.VolumeCapabilities, r.CapacityRange = caps(mount("ext4")), exactly(512*mib)
	})).GetVolumeId()
	expand := func(name string, kind volume.Kind, says, id string, size *csi.CapacityRange, access *csi.VolumeCapability) refusal {
		return refusal{name, kind, says, func(m *machine) (any, error) {
			return m.ControllerExpandVolume(m.Context(), &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: size, VolumeCapability: access})
		}}
	}
	m.refuse([]refusal{
		expand("no volume", volume.NotFound, handle("fast", "none"), handle("fast", "none"), exactly(gib), nil),
		expand("to less than it has", volume.OutOfRange, id, id, exactly(4*mib), nil),
		expand("limit below required", volume.OutOfRange, "", id, &csi.CapacityRange{RequiredBytes: gib, LimitBytes: mib}, nil),
		expand("no room", volume.Full, "slow", id, exactly(64*gib), nil),
		expand("more than any disk", volume.OutOfRange, "", id, &csi.CapacityRange{RequiredBytes: math.MaxInt64}, nil),
		expand("another file system", volume.Invalid, "created for ext4", id, exactly(gib), mount("xfs")),
		expand("many nodes", volume.Invalid, "MULTI_NODE", id, exactly(gib), withMode(mount(""), csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)),
	})
}

// The size that a pool makes of what is required can lie above the limit; that must not be answered
// as if it met the request.
func TestAnExpansionAboveTheLimitIsNotCalledASuccess(t *testing.T) {
	m := newMachine(t)
	id := m.create("fast", "v").GetVolumeId()
	answer, err := m.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: exactly(8*mib + 1)})
	m.refused(volume.OutOfRange, id, answer, err)
}
