package node_test

import (
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// larger makes a volume twice as large, as ControllerExpandVolume does.
func (m *machine) larger(name string) {
	m.Helper()
	_, err := m.fast.Pool.Expand(m.Context(), m.id(name), volume.Range{RequiredBytes: 2 * m.get(name).Size})
	m.ok("Expand", err)
}

func TestExpand(t *testing.T) {
	for _, fsType := range volume.FSTypes() {
		for _, at := range []string{"staging", "pod", "read-only pod"} {
			t.Run(string(fsType)+" at "+at, func(t *testing.T) {
				m := newMachine(t)
				m.create("v", func(s *volume.Spec) { s.Size.RequiredBytes = fsType.Least() + size })
				m.ok("stage", m.stage("v", mount(string(fsType))))
				m.ok("publish", m.publish("v", "a", mount("")))
				m.ok("publish", m.publishReadOnly("v", "b", mount("")))
				uuid, before := m.found("v").UUID, m.total("v")
				m.larger("v")
				path := map[string]string{"staging": m.path("staging", "v"), "pod": m.target("v", "a"), "read-only pod": m.target("v", "b")}[at]
				for range 2 {
					m.ok("expand", m.expand("v", path))
				}
				if after := m.total("v"); after < before*3/2 || m.found("v").UUID != uuid {
					t.Errorf("the file system had %d bytes and has %d; UUID %s, %s", before, after, uuid, m.found("v").UUID)
				}
			})
		}
	}
}

func (m *machine) total(name string) int64 {
	m.Helper()
	usage, err := m.m.Usage(m.path("staging", name))
	m.ok("Usage", err)
	return usage.TotalBytes
}

func TestExpandAsCsiSanityAndTheKubeletDo(t *testing.T) {
	m := newMachine(t)
	m.create("v")
	m.ok("stage", m.stage("v", mount("")))
	m.ok("publish", m.publish("v", "a", mount("")))
	m.larger("v")
	answer, err := m.NodeExpandVolume(t.Context(), &csi.NodeExpandVolumeRequest{
		VolumeId: "n1/fast/v", VolumePath: m.target("v", "a"), CapacityRange: &csi.CapacityRange{RequiredBytes: int64(2 * size)},
	})
	if err != nil || answer.GetCapacityBytes() != int64(2*size) {
		t.Errorf("without capability and staging path: %v, %v", answer, err)
	}
	answer, err = m.NodeExpandVolume(t.Context(), &csi.NodeExpandVolumeRequest{
		VolumeId: "n1/fast/v", VolumePath: m.target("v", "a"), StagingTargetPath: m.path("staging", "v"), VolumeCapability: mount("ext4"),
		CapacityRange: &csi.CapacityRange{RequiredBytes: int64(2 * size)},
	})
	if err != nil || answer.GetCapacityBytes() != int64(2*size) {
		t.Errorf("with both: %v, %v", answer, err)
	}
}

func TestExpandOfABlockVolume(t *testing.T) {
	m := newMachine(t)
	m.create("v")
	m.ok("stage", m.stage("v", block()))
	m.ok("publish", m.publish("v", "a", block()))
	m.larger("v")
	answer, err := m.NodeExpandVolume(t.Context(), &csi.NodeExpandVolumeRequest{VolumeId: "n1/fast/v", VolumePath: m.target("v", "a"), VolumeCapability: block()})
	if err != nil || answer.GetCapacityBytes() != int64(2*size) {
		t.Errorf("%v, %v", answer, err)
	}
	if usage, err := m.stats("v", m.target("v", "a")); err != nil || usage[0].GetTotal() != int64(2*size) {
		t.Errorf("the device has %v, %v", usage, err)
	}
}

func TestExpandNeedsAMountForWriting(t *testing.T) {
	m := newMachine(t)
	m.create("v")
	m.format("v", volume.Ext4)
	m.ok("stage", m.stage("v", withMode(mount(""), reader)))
	before := m.total("v")
	m.larger("v")
	m.is("expand", m.expand("v", m.path("staging", "v")), volume.InUse, "read-only")
	if m.total("v") != before {
		t.Error("it was grown")
	}
}
