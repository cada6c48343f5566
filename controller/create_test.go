package controller_test

import (
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"

	"github.com/loam-storage/loam/controller"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
)

// here is where everything is that these tests make.
func here() []*csi.Topology { return []*csi.Topology{at(volume.TopologyKey, node)} }

func TestWhatIsAskedForIsMade(t *testing.T) {
	m := newMachine(t)
	m.create("fast", "source")
	m.snapshot("shot", handle("fast", "source"))
	long := strings.Repeat("x", 128)
	for _, c := range []struct {
		name   string
		change func(*csi.CreateVolumeRequest)
		want   *csi.Volume
	}{
		{"plain", nil, &csi.Volume{VolumeId: handle("slow", "plain"), CapacityBytes: 8 * mib}},
		{"named pool", func(r *csi.CreateVolumeRequest) { r.Parameters = inPool("fast") }, &csi.Volume{VolumeId: handle("fast", volume.NameFor("named pool")), CapacityBytes: 8 * mib}},
		{long, nil, &csi.Volume{VolumeId: handle("slow", volume.NameFor(long)), CapacityBytes: 8 * mib}},
		{"any-size", func(r *csi.CreateVolumeRequest) { r.CapacityRange = nil }, &csi.Volume{VolumeId: handle("slow", "any-size"), CapacityBytes: gib}},
		{"at-most", func(r *csi.CreateVolumeRequest) { r.CapacityRange = &csi.CapacityRange{LimitBytes: 2 * mib} }, &csi.Volume{VolumeId: handle("slow", "at-most"), CapacityBytes: 2 * mib}},
		{"block", func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities = caps(block()) }, &csi.Volume{VolumeId: handle("slow", "block"), CapacityBytes: 8 * mib}},
		{"both", func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities = caps(block(), mount("ext4"), mount("")) }, &csi.Volume{VolumeId: handle("slow", "both"), CapacityBytes: 8 * mib}},
		{
			"room-for-xfs", func(r *csi.CreateVolumeRequest) {
				r.VolumeCapabilities, r.CapacityRange = caps(mount("xfs")), &csi.CapacityRange{RequiredBytes: mib}
			},
			&csi.Volume{VolumeId: handle("slow", "room-for-xfs"), CapacityBytes: 300 * mib},
		},
		{
			"of-a-class", func(r *csi.CreateVolumeRequest) {
				r.Parameters = map[string]string{"mkfsOptions": "-m 1", "csi.storage.k8s.io/pvc/name": "c", "csi.storage.k8s.io/pvc/namespace": "d", "csi.storage.k8s.io/pv/name": "v"}
			},
			&csi.Volume{VolumeId: handle("slow", "of-a-class"), CapacityBytes: 8 * mib},
		},
		{
			"restored", func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = ofSnapshot(handle("fast", "shot")) },
			&csi.Volume{VolumeId: handle("fast", "restored"), CapacityBytes: 8 * mib, ContentSource: ofSnapshot(handle("fast", "shot"))},
		},
		{
			"larger", func(r *csi.CreateVolumeRequest) {
				r.VolumeContentSource, r.CapacityRange, r.Parameters = ofSnapshot(handle("fast", "shot")), exactly(16*mib), inPool("fast")
			},
			&csi.Volume{VolumeId: handle("fast", "larger"), CapacityBytes: 16 * mib, ContentSource: ofSnapshot(handle("fast", "shot"))},
		},
		{
			"cloned", func(r *csi.CreateVolumeRequest) {
				r.VolumeContentSource, r.CapacityRange = ofVolume(handle("fast", "source")), nil
			},
			&csi.Volume{VolumeId: handle("fast", "cloned"), CapacityBytes: 8 * mib, ContentSource: ofVolume(handle("fast", "source"))},
		},
		{
			"placed", func(r *csi.CreateVolumeRequest) {
				r.AccessibilityRequirements = requisite(at(volume.TopologyKey, "n2"), at(strings.ToUpper(volume.TopologyKey), node))
			},
			&csi.Volume{VolumeId: handle("slow", "placed"), CapacityBytes: 8 * mib},
		},
		{
			"preferred-elsewhere", func(r *csi.CreateVolumeRequest) {
				r.AccessibilityRequirements = &csi.TopologyRequirement{Preferred: []*csi.Topology{at(volume.TopologyKey, "n2")}}
			},
			&csi.Volume{VolumeId: handle("slow", "preferred-elsewhere"), CapacityBytes: 8 * mib},
		},
	} {
		c.want.AccessibleTopology = here()
		req := newVolume(c.name, c.change)
		got := m.make(req)
		if !proto.Equal(got, c.want) {
			t.Errorf("%s: made %v, want %v", c.name, got, c.want)
		}
		before := m.state()
		if again := m.make(req); !proto.Equal(again, got) || m.state() != before {
			t.Errorf("%s: asked again it is %v, not %v", c.name, again, got)
		}
		one, err := m.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: got.GetVolumeId()})
		if err != nil || !proto.Equal(one.GetVolume(), got) || one.GetStatus() == nil || len(one.GetStatus().GetPublishedNodeIds()) > 0 {
			t.Errorf("%s: ControllerGetVolume = %v, %v", c.name, one, err)
		}
	}
}

func TestWhatCannotBeMadeIsRefused(t *testing.T) {
	m := newMachine(t)
	m.create("fast", "taken")
	m.make(newVolume("ext4", func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities = caps(mount("ext4")) }))
	m.snapshot("shot", handle("fast", "taken"))
	m.snapshot("ext4-shot", handle("slow", "ext4"))
	foreign := requisite(at(volume.TopologyKey, "n2"))
	create := func(name string, kind volume.Kind, says, volumeName string, change func(*csi.CreateVolumeRequest)) refusal {
		return refusal{name, kind, says, func(m *machine) (any, error) { return m.CreateVolume(m.Context(), newVolume(volumeName, change)) }}
	}
	m.refuse([]refusal{
		create("snapshot is missing", volume.NotFound, handle("fast", "none"), "new", func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = ofSnapshot(handle("fast", "none")) }),
		create("volume is missing", volume.NotFound, handle("fast", "none"), "new", func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = ofVolume(handle("fast", "none")) }),
		create("source on another node", volume.NotFound, "n2", "new", func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = ofVolume("n2/fast/taken") }),
		create("source in no pool", volume.NotFound, "gone", "new", func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = ofVolume(handle("gone", "taken")) }),
		create("source in another pool", volume.Invalid, `pool "fast"`, "new", func(r *csi.CreateVolumeRequest) {
			r.VolumeContentSource, r.Parameters = ofSnapshot(handle("fast", "shot")), inPool("slow")
		}),
		create("volume of another file system", volume.Invalid, "ext4", "new", func(r *csi.CreateVolumeRequest) {
			r.VolumeContentSource, r.VolumeCapabilities, r.CapacityRange = ofVolume(handle("slow", "ext4")), caps(mount("xfs")), exactly(gib)
		}),
		create("snapshot of another file system", volume.Invalid, "ext4", "new", func(r *csi.CreateVolumeRequest) {
			r.VolumeContentSource, r.VolumeCapabilities, r.CapacityRange = ofSnapshot(handle("slow", "ext4-shot")), caps(mount("xfs")), exactly(gib)
		}),
		create("smaller than the source", volume.OutOfRange, "", "new", func(r *csi.CreateVolumeRequest) {
			r.VolumeContentSource, r.CapacityRange = ofSnapshot(handle("fast", "shot")), exactly(4*mib)
		}),
		create("no such size", volume.OutOfRange, "", "new", func(r *csi.CreateVolumeRequest) { r.CapacityRange = exactly(8*mib + 1) }),
		create("limit below required", volume.OutOfRange, "", "new", func(r *csi.CreateVolumeRequest) {
			r.CapacityRange = &csi.CapacityRange{RequiredBytes: 2, LimitBytes: 1}
		}),
		create("too small for xfs", volume.OutOfRange, "", "new", func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities = caps(mount("xfs")) }),
		create("options of mkfs for another file system", volume.Invalid, "mkfsOptions", "new", func(r *csi.CreateVolumeRequest) {
			r.VolumeCapabilities, r.Parameters, r.CapacityRange = caps(mount("xfs")), map[string]string{"mkfsOptions": "-N 4096"}, exactly(gib)
		}),
		create("options of mkfs that read a directory of the node", volume.Invalid, "-d etc", "new", func(r *csi.CreateVolumeRequest) {
			r.Parameters = map[string]string{"mkfsOptions": "-d etc"}
		}),
		create("no room", volume.Full, "slow", "new", func(r *csi.CreateVolumeRequest) { r.CapacityRange = exactly(5 * gib) }),
		create("on another node", volume.Full, node, "new", func(r *csi.CreateVolumeRequest) { r.AccessibilityRequirements = foreign }),
		create("by another key", volume.Full, node, "new", func(r *csi.CreateVolumeRequest) {
			r.AccessibilityRequirements = requisite(at("topology.kubernetes.io/zone", node))
		}),
		create("here, but only with another key", volume.Full, node, "new", func(r *csi.CreateVolumeRequest) {
			r.AccessibilityRequirements = requisite(&csi.Topology{Segments: map[string]string{volume.TopologyKey: node, "zone": "z"}})
		}),
		create("exists with another size", volume.Exists, handle("fast", "taken"), "taken", func(r *csi.CreateVolumeRequest) { r.Parameters, r.CapacityRange = inPool("fast"), exactly(16*mib) }),
		create("exists in another pool", volume.Exists, handle("fast", "taken"), "taken", func(r *csi.CreateVolumeRequest) { r.Parameters = inPool("slow") }),
		create("exists with other parameters", volume.Exists, "-m 1", "taken", func(r *csi.CreateVolumeRequest) {
			r.Parameters = map[string]string{"pool": "fast", "mkfsOptions": "-m 1"}
		}),
		create("exists with another file system", volume.Exists, "ext4", "ext4", func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities = caps(mount("btrfs")) }),
		create("exists without a source", volume.Exists, "shot", "taken", func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = ofSnapshot(handle("fast", "shot")) }),
		create("exists without a source in its pool", volume.Exists, handle("fast", "taken"), "taken", func(r *csi.CreateVolumeRequest) {
			r.VolumeContentSource = ofSnapshot(handle("slow", "ext4-shot"))
		}),
		create("exists here", volume.Exists, handle("fast", "taken"), "taken", func(r *csi.CreateVolumeRequest) { r.AccessibilityRequirements = foreign }),
		create("copy of a pool that cannot", volume.NotFound, "bare", "new", func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = ofSnapshot(handle("bare", "shot")) }),
	})
}

func TestACopyIsAnsweredAgainWithoutItsSource(t *testing.T) {
	m := newMachine(t)
	source := m.make(newVolume("source", func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities = caps(mount("ext4")) }))
	shot := m.snapshot("shot", source.GetVolumeId())
	req := newVolume("copy", func(r *csi.CreateVolumeRequest) {
		r.VolumeCapabilities, r.VolumeContentSource = caps(mount("ext4")), ofSnapshot(shot.GetSnapshotId())
	})
	made := m.make(req)
	_, err := m.DeleteSnapshot(t.Context(), &csi.DeleteSnapshotRequest{SnapshotId: shot.GetSnapshotId()})
	m.ok("DeleteSnapshot", err)
	if again := m.make(req); !proto.Equal(again, made) {
		t.Errorf("asked again it is %v, not %v", again, made)
	}
}

// A pool put before the others in the configuration must not make repeated calls make second volumes.
func TestANameStaysInItsPoolWhenTheFirstPoolChanges(t *testing.T) {
	slow, fast := memory.New("slow", node, volume.GiB), memory.New("fast", node, volume.GiB)
	made := machineWith(t, controller.Config{}, slow, fast).make(newVolume("v", nil))
	reordered := machineWith(t, controller.Config{}, fast, slow)
	before := reordered.state()
	if again := reordered.make(newVolume("v", nil)); !proto.Equal(again, made) || reordered.state() != before {
		t.Errorf("asked again it is %v, not %v", again, made)
	}
}

func TestDeletingIsRepeatable(t *testing.T) {
	m := newMachine(t)
	v := m.create("fast", "v")
	m.snapshot("shot", v.GetVolumeId())
	for _, id := range []string{v.GetVolumeId(), v.GetVolumeId(), "fake-vol-id", handle("fast", "none"), "../../etc/passwd", strings.Repeat("x", 129)} {
		if answer, err := m.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id}); err != nil || answer == nil {
			t.Errorf("DeleteVolume(%.40q) = %v, %v", id, answer, err)
		}
	}
	if list, err := m.ListVolumes(t.Context(), &csi.ListVolumesRequest{}); err != nil || len(list.GetEntries()) > 0 {
		t.Errorf("left: %v, %v", list, err)
	}
	if list, err := m.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{SourceVolumeId: v.GetVolumeId()}); err != nil || len(list.GetEntries()) != 1 {
		t.Errorf("the snapshot went with its volume: %v, %v", list, err)
	}
}

// What this machine cannot see it must not call gone.
func TestWhatIsElsewhereIsNotDeleted(t *testing.T) {
	m := newMachine(t)
	v := m.create("fast", "v")
	m.publish(v.GetVolumeId(), false)
	var cases []refusal
	for _, id := range []string{"n2/fast/v", handle("gone", "v")} {
		cases = append(
			cases,
			refusal{"DeleteVolume " + id, volume.Unavailable, id, func(m *machine) (any, error) {
				return m.DeleteVolume(m.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
			}},
			refusal{"DeleteSnapshot " + id, volume.Unavailable, id, func(m *machine) (any, error) {
				return m.DeleteSnapshot(m.Context(), &csi.DeleteSnapshotRequest{SnapshotId: id})
			}},
			refusal{"DeleteVolumeGroupSnapshot " + id, volume.Unavailable, id, func(m *machine) (any, error) {
				return m.DeleteVolumeGroupSnapshot(m.Context(), &csi.DeleteVolumeGroupSnapshotRequest{GroupSnapshotId: id})
			}},
			refusal{"ControllerUnpublishVolume " + id, volume.Unavailable, id, func(m *machine) (any, error) {
				return m.ControllerUnpublishVolume(m.Context(), &csi.ControllerUnpublishVolumeRequest{VolumeId: id})
			}},
		)
	}
	cases = append(cases, refusal{"DeleteVolume attached", volume.InUse, v.GetVolumeId(), func(m *machine) (any, error) {
		return m.DeleteVolume(m.Context(), &csi.DeleteVolumeRequest{VolumeId: v.GetVolumeId()})
	}})
	m.refuse(cases)
}
