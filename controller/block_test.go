package controller_test

import (
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// usedAsBlock makes a volume that a user has had as a block device.
func (m *machine) usedAsBlock(name string) string {
	m.Helper()
	v := m.make(newVolume(name, func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities = caps(block()) }))
	m.marked(v.GetVolumeId(), volume.Block)
	return v.GetVolumeId()
}

func (m *machine) marked(handle string, mark volume.Mark) {
	m.Helper()
	id, err := volume.ParseID(handle)
	m.ok("ParseID", err)
	m.ok("Mark", m.pools[0].Mark(m.Context(), id, mark))
}

func allowing(r *csi.CreateVolumeRequest) {
	r.Parameters = map[string]string{volume.KeyAllowBlock: "true"}
}

// copyOf is a request for a volume that is a copy.
func copyOf(name string, of *csi.VolumeContentSource, change ...func(*csi.CreateVolumeRequest)) *csi.CreateVolumeRequest {
	return newVolume(name, func(r *csi.CreateVolumeRequest) {
		r.VolumeContentSource = of
		for _, c := range change {
			c(r)
		}
	})
}

func TestACopyOfABlockDeviceIsMadeForAFileSystemOnlyWhereThatIsAllowed(t *testing.T) {
	m := newMachine(t)
	id := m.usedAsBlock("raw")
	snapshot := m.snapshot("s", id).GetSnapshotId()
	var cases []refusal
	for name, source := range map[string]*csi.VolumeContentSource{"restore": ofSnapshot(snapshot), "clone": ofVolume(id)} {
		for _, fsType := range []string{"", "ext4"} {
			cases = append(cases, refusal{name + " " + fsType, volume.Invalid, volume.KeyAllowBlock, func(m *machine) (any, error) {
				return m.CreateVolume(m.Context(), copyOf(name, source, func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities = caps(mount(fsType)) }))
			}})
		}
	}
	m.refuse(cases)
	m.make(copyOf("block", ofSnapshot(snapshot), func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities = caps(block()) }))
	v := m.make(copyOf("allowed", ofVolume(id), allowing))
	if _, err := m.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: v.GetVolumeId(), NodeId: node, VolumeCapability: mount("")}); err != nil {
		t.Errorf("publish what is allowed: %v", err)
	}
	_, err := m.CreateVolume(t.Context(), copyOf("allowed", ofVolume(id)))
	if !volume.Is(err, volume.Exists) && !volume.Is(err, volume.Invalid) {
		t.Errorf("the same name without the parameter: %v", err)
	}
}

// A copy stays what it is when its source is used as a block device later.
func TestACopyFromBeforeIsAnsweredAgain(t *testing.T) {
	m := newMachine(t)
	id := m.make(newVolume("v", nil)).GetVolumeId()
	first := m.make(copyOf("copy", ofVolume(id)))
	m.marked(id, volume.Block)
	if again := m.make(copyOf("copy", ofVolume(id))); again.GetVolumeId() != first.GetVolumeId() {
		t.Errorf("%v, and %v before", again, first)
	}
	_, err := m.CreateVolume(t.Context(), copyOf("later", ofVolume(id)))
	if !volume.Is(err, volume.Invalid) {
		t.Errorf("a copy of now: %v", err)
	}
}

func TestABlockDeviceIsNotPublishedToBeMounted(t *testing.T) {
	m := newMachine(t)
	id := m.usedAsBlock("raw")
	m.refuse([]refusal{{"publish", volume.InUse, volume.KeyAllowBlock, func(m *machine) (any, error) {
		return m.ControllerPublishVolume(m.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: node, VolumeCapability: mount("")})
	}}})
	said, err := m.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: caps(mount(""))})
	if err != nil || said.GetConfirmed() != nil || !strings.Contains(said.GetMessage(), volume.KeyAllowBlock) {
		t.Errorf("ValidateVolumeCapabilities: %v, %v", said, err)
	}
	said, err = m.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: caps(block())})
	if err != nil || said.GetConfirmed() == nil {
		t.Errorf("ValidateVolumeCapabilities of a block device: %v, %v", said, err)
	}
	said, err = m.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: caps(block()),
		Parameters: map[string]string{volume.KeyAllowBlock: "true"}})
	if err != nil || said.GetConfirmed() != nil || !strings.Contains(said.GetMessage(), volume.KeyAllowBlock) {
		t.Errorf("ValidateVolumeCapabilities of another parameter: %v, %v", said, err)
	}
	_, err = m.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: exactly(16 * mib)}) // without a capability
	m.ok("ControllerExpandVolume", err)
	if _, err := m.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: node, VolumeCapability: block()}); err != nil {
		t.Errorf("publish as a block device: %v", err)
	}
}
