package controller_test

import (
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"

	"github.com/loam-storage/loam/driver/volume"
)

func TestASnapshotIsTakenOnceAndFound(t *testing.T) {
	m := newMachine(t)
	source := m.create("fast", "v").GetVolumeId()
	for _, c := range []struct {
		name   string
		change func(*csi.CreateSnapshotRequest)
	}{
		{"plain", func(*csi.CreateSnapshotRequest) {}},
		{strings.Repeat("x", 128), func(*csi.CreateSnapshotRequest) {}},
		{"here", func(r *csi.CreateSnapshotRequest) {
			r.AccessibilityRequirements = requisite(at(volume.TopologyKey, node))
		}},
		{"of a class", func(r *csi.CreateSnapshotRequest) {
			r.Parameters = map[string]string{"csi.storage.k8s.io/volumesnapshot/name": "s"}
		}},
	} {
		req := &csi.CreateSnapshotRequest{Name: c.name, SourceVolumeId: source}
		c.change(req)
		answer, err := m.CreateSnapshot(t.Context(), req)
		m.ok(c.name, err)
		got := answer.GetSnapshot()
		want := &csi.Snapshot{
			SnapshotId: handle("fast", volume.NameFor(c.name)), SourceVolumeId: source, SizeBytes: 8 * mib, ReadyToUse: true,
			CreationTime: got.GetCreationTime(), AccessibleTopology: here(),
		}
		if age := time.Since(got.GetCreationTime().AsTime()); !proto.Equal(got, want) || age < 0 || age > time.Hour {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
		before := m.state()
		if again, err := m.CreateSnapshot(t.Context(), req); err != nil || !proto.Equal(again.GetSnapshot(), got) || m.state() != before {
			t.Errorf("%s: asked again: %v, %v", c.name, again, err)
		}
		if one, err := m.GetSnapshot(t.Context(), &csi.GetSnapshotRequest{SnapshotId: got.GetSnapshotId()}); err != nil || !proto.Equal(one.GetSnapshot(), got) {
			t.Errorf("%s: GetSnapshot = %v, %v", c.name, one, err)
		}
		for range 2 {
			_, err := m.DeleteSnapshot(t.Context(), &csi.DeleteSnapshotRequest{SnapshotId: got.GetSnapshotId()})
			m.ok("DeleteSnapshot", err)
		}
		_, err = m.GetSnapshot(t.Context(), &csi.GetSnapshotRequest{SnapshotId: got.GetSnapshotId()})
		if !volume.Is(err, volume.NotFound) {
			t.Errorf("%s: after it was deleted: %v", c.name, err)
		}
	}
	for _, id := range []string{"reallyfakesnapshotid", handle("bare", "s"), handle("fast", "none")} {
		if _, err := m.DeleteSnapshot(t.Context(), &csi.DeleteSnapshotRequest{SnapshotId: id}); err != nil {
			t.Errorf("DeleteSnapshot(%s): %v", id, err)
		}
	}
}

func TestASnapshotIsAnsweredAgainWithoutItsVolume(t *testing.T) {
	m := newMachine(t)
	source := m.create("fast", "v").GetVolumeId()
	taken := m.snapshot("s", source)
	_, err := m.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: source})
	m.ok("DeleteVolume", err)
	if again := m.snapshot("s", source); !proto.Equal(again, taken) {
		t.Errorf("asked again it is %v, not %v", again, taken)
	}
}

func TestSnapshotsThatCannotBeAreRefused(t *testing.T) {
	m := newMachine(t)
	v, other, elsewhere, bare := m.create("fast", "v").GetVolumeId(), m.create("fast", "other").GetVolumeId(), m.create("slow", "w").GetVolumeId(), m.create("bare", "b").GetVolumeId()
	large := m.make(newVolume("large", func(r *csi.CreateVolumeRequest) { r.CapacityRange = exactly(3 * gib) })).GetVolumeId()
	m.snapshot("s", v)
	member := m.group("g", v).GetSnapshots()[0].GetSnapshotId()
	take := func(name string, kind volume.Kind, says, snapshot, source string, r *csi.TopologyRequirement) refusal {
		return refusal{name, kind, says, func(m *machine) (any, error) {
			return m.CreateSnapshot(m.Context(), &csi.CreateSnapshotRequest{Name: snapshot, SourceVolumeId: source, AccessibilityRequirements: r})
		}}
	}
	get := func(id string) refusal {
		return refusal{"get " + id, volume.NotFound, id, func(m *machine) (any, error) {
			return m.GetSnapshot(m.Context(), &csi.GetSnapshotRequest{SnapshotId: id})
		}}
	}
	m.refuse([]refusal{
		take("no volume", volume.NotFound, handle("fast", "none"), "new", handle("fast", "none"), nil),
		take("no handle", volume.NotFound, "fake-vol-id", "new", "fake-vol-id", nil),
		take("name of another volume", volume.Exists, handle("fast", "s"), "s", other, nil),
		take("name of another pool", volume.Exists, handle("fast", "s"), "s", elsewhere, nil),
		take("no room", volume.Full, "slow", "new", large, nil),
		take("another node", volume.Full, node, "new", v, requisite(at(volume.TopologyKey, "n2"))),
		take("a pool that cannot", volume.Unsupported, "bare", "new", bare, nil),
		get("reallyfakesnapshotid"), get(handle("fast", "none")), get(handle("bare", "s")), get("n2/fast/s"), get(handle("fast", "g")),
		{"delete a member", volume.Invalid, member, func(m *machine) (any, error) {
			return m.DeleteSnapshot(m.Context(), &csi.DeleteSnapshotRequest{SnapshotId: member})
		}},
	})
}
