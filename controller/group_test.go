package controller_test

import (
	"slices"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"

	"github.com/loam-storage/loam/driver/volume"
)

func ids(g *csi.VolumeGroupSnapshot) []string {
	var all []string
	for _, s := range g.GetSnapshots() {
		all = append(all, s.GetSnapshotId())
	}
	return all
}

func TestAGroupIsTakenOnceFoundAndRemovedWhole(t *testing.T) {
	m := newMachine(t)
	a, b := m.create("fast", "a").GetVolumeId(), m.create("fast", "b").GetVolumeId()
	alone := m.snapshot("alone", a)
	g := m.group("g", b, a)
	if g.GetGroupSnapshotId() != handle("fast", "g") || !g.GetReadyToUse() || !g.GetCreationTime().IsValid() || len(g.GetSnapshots()) != 2 {
		t.Fatalf("the group is %v", g)
	}
	for i, source := range []string{b, a} {
		s := g.GetSnapshots()[i]
		want := &csi.Snapshot{
			SnapshotId: handle("fast", volume.MemberName("g", []string{"b", "a"}[i])), SourceVolumeId: source, SizeBytes: 8 * mib, ReadyToUse: true,
			CreationTime: g.GetCreationTime(), AccessibleTopology: here(), GroupSnapshotId: g.GetGroupSnapshotId(),
		}
		if !proto.Equal(s, want) {
			t.Errorf("member %v, want %v", s, want)
		}
		if one, err := m.GetSnapshot(t.Context(), &csi.GetSnapshotRequest{SnapshotId: s.GetSnapshotId()}); err != nil || !proto.Equal(one.GetSnapshot(), want) {
			t.Errorf("GetSnapshot = %v, %v; want %v", one, err, want)
		}
		restored := m.make(newVolume("restored-"+s.GetSnapshotId(), func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = ofSnapshot(s.GetSnapshotId()) }))
		if restored.GetContentSource().GetSnapshot().GetSnapshotId() != s.GetSnapshotId() {
			t.Errorf("restored %v", restored)
		}
	}
	before := m.state()
	if again := m.group("g", b, a); !proto.Equal(again, g) || m.state() != before {
		t.Errorf("asked again it is %v, not %v", again, g)
	}
	if again := m.group("g", a, b); again.GetGroupSnapshotId() != g.GetGroupSnapshotId() || m.state() != before {
		t.Errorf("asked in another order it is %v", again)
	}
	reversed := ids(g)
	slices.Reverse(reversed)
	for _, members := range [][]string{ids(g), reversed} {
		got, err := m.GetVolumeGroupSnapshot(t.Context(), &csi.GetVolumeGroupSnapshotRequest{GroupSnapshotId: g.GetGroupSnapshotId(), SnapshotIds: members})
		m.ok("GetVolumeGroupSnapshot", err)
		if found := got.GetGroupSnapshot(); !slices.Equal(slices.Sorted(slices.Values(ids(found))), slices.Sorted(slices.Values(ids(g)))) {
			t.Errorf("found %v, want %v", found, g)
		}
	}
	for range 2 {
		_, err := m.DeleteVolumeGroupSnapshot(t.Context(), &csi.DeleteVolumeGroupSnapshotRequest{GroupSnapshotId: g.GetGroupSnapshotId(), SnapshotIds: reversed})
		m.ok("DeleteVolumeGroupSnapshot", err)
	}
	list, err := m.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{})
	if err != nil || len(list.GetEntries()) != 1 || !proto.Equal(list.GetEntries()[0].GetSnapshot(), alone) {
		t.Errorf("left: %v, %v", list, err)
	}
	for _, id := range []string{"fake-vol-id", handle("fast", "none"), handle("bare", "none"), alone.GetSnapshotId()} {
		if _, err := m.DeleteVolumeGroupSnapshot(t.Context(), &csi.DeleteVolumeGroupSnapshotRequest{GroupSnapshotId: id}); err != nil {
			t.Errorf("DeleteVolumeGroupSnapshot(%s): %v", id, err)
		}
	}
}

func TestGroupsThatCannotBeAreRefused(t *testing.T) {
	m := newMachine(t)
	a, b, other, bare := m.create("fast", "a").GetVolumeId(), m.create("fast", "b").GetVolumeId(), m.create("slow", "c").GetVolumeId(), m.create("bare", "d").GetVolumeId()
	large := m.make(newVolume("large", func(r *csi.CreateVolumeRequest) { r.CapacityRange = exactly(3 * gib) })).GetVolumeId()
	g := m.group("g", a, b)
	alone := m.snapshot("alone", a).GetSnapshotId()
	take := func(name string, kind volume.Kind, says, group string, sources ...string) refusal {
		return refusal{name, kind, says, func(m *machine) (any, error) {
			return m.CreateVolumeGroupSnapshot(m.Context(), &csi.CreateVolumeGroupSnapshotRequest{Name: group, SourceVolumeIds: sources})
		}}
	}
	get := func(name string, kind volume.Kind, says, id string, members ...string) refusal {
		return refusal{"get " + name, kind, says, func(m *machine) (any, error) {
			return m.GetVolumeGroupSnapshot(m.Context(), &csi.GetVolumeGroupSnapshotRequest{GroupSnapshotId: id, SnapshotIds: members})
		}}
	}
	remove := func(name string, members ...string) refusal {
		return refusal{"delete " + name, volume.Invalid, handle("fast", "g"), func(m *machine) (any, error) {
			return m.DeleteVolumeGroupSnapshot(m.Context(), &csi.DeleteVolumeGroupSnapshotRequest{GroupSnapshotId: g.GetGroupSnapshotId(), SnapshotIds: members})
		}}
	}
	wrong := map[string][]string{
		"without members": nil, "with one member": ids(g)[:1], "with one more": append(ids(g), alone), "with one twice": append(ids(g), ids(g)[0]), "with others": {alone, ids(g)[0]},
	}
	cases := []refusal{
		take("a volume is missing", volume.NotFound, handle("fast", "none"), "new", a, handle("fast", "none")),
		take("no handle", volume.NotFound, "fake-vol-id", "new", a, "fake-vol-id"),
		take("another node", volume.NotFound, "n2", "new", "n2/fast/a"),
		take("two pools", volume.InUse, other, "new", a, other),
		take("two nodes", volume.InUse, "n2/fast/a", "new", a, "n2/fast/a"),
		take("two nodes, another one first", volume.InUse, a, "new", "n2/fast/a", a),
		take("twice the same", volume.Invalid, a, "new", a, b, a),
		take("an empty handle", volume.Invalid, "source_volume_ids", "new", a, ""),
		take("no volumes", volume.Invalid, "source_volume_ids", "new"),
		take("name of other volumes", volume.Exists, handle("fast", "g"), "g", a),
		take("name in another pool", volume.Exists, handle("fast", "g"), "g", other),
		take("no room", volume.Full, "slow", "new", other, large),
		take("a pool that cannot", volume.Unsupported, "bare", "new", bare),
		get("what is missing", volume.NotFound, handle("fast", "none"), handle("fast", "none")),
		get("no handle", volume.NotFound, "fake-vol-id", "fake-vol-id"),
		get("on another node", volume.NotFound, "n2", "n2/fast/g"),
		get("in a pool that cannot", volume.NotFound, "bare", handle("bare", "g")),
		get("a snapshot", volume.NotFound, alone, alone),
	}
	for name, members := range wrong {
		cases = append(cases, get(name, volume.Invalid, handle("fast", "g"), g.GetGroupSnapshotId(), members...), remove(name, members...))
	}
	m.refuse(cases)
}
