package controller_test

import (
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/controller"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
)

// damagedMachine has a pool with volumes a, damaged and z, a snapshot of each, and a group of a and z with a damaged member.
func damagedMachine(t *testing.T) (m *machine, group string) {
	fast := memory.New("fast", node, volume.GiB)
	m = machineWith(t, controller.Config{}, fast, memory.New("slow", node, volume.GiB))
	for _, name := range []string{"a", "damaged", "z"} {
		m.create("fast", name)
		_, err := m.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: handle("fast", name)})
		m.ok("CreateSnapshot", err)
	}
	taken, err := m.CreateVolumeGroupSnapshot(t.Context(), &csi.CreateVolumeGroupSnapshotRequest{Name: "g", SourceVolumeIds: []string{handle("fast", "a"), handle("fast", "z")}})
	m.ok("CreateVolumeGroupSnapshot", err)
	fast.Damage(volume.ID{Node: node, Pool: "fast", Name: "damaged"}, "its record is lost")
	fast.Damage(volume.ID{Node: node, Pool: "fast", Name: volume.MemberName("g", "a")}, "its record is lost")
	return m, taken.GetGroupSnapshot().GetGroupSnapshotId()
}

// What is damaged is in the lists, hides nothing, and is refused by its handle.
func TestWhatIsDamagedIsListedAndRefused(t *testing.T) {
	m, group := damagedMachine(t)
	ctx, damaged := t.Context(), handle("fast", "damaged")
	volumes, err := m.ListVolumes(ctx, &csi.ListVolumesRequest{})
	if err != nil || len(volumes.GetEntries()) != 3 || volumes.GetEntries()[1].GetVolume().GetVolumeId() != damaged {
		t.Errorf("ListVolumes: %v, %v", volumes, err)
	}
	snapshots, err := m.ListSnapshots(ctx, &csi.ListSnapshotsRequest{})
	if err != nil || len(snapshots.GetEntries()) != 5 {
		t.Errorf("ListSnapshots: %v, %v", snapshots, err)
	}
	for _, e := range snapshots.GetEntries() {
		s := e.GetSnapshot()
		isDamaged := s.GetSnapshotId() == damaged || s.GetSnapshotId() == handle("fast", volume.MemberName("g", "a"))
		if s.GetReadyToUse() == isDamaged || s.GetSourceVolumeId() == "" {
			t.Errorf("ListSnapshots has %v", s)
		}
	}
	if got, err := m.ControllerGetVolume(ctx, &csi.ControllerGetVolumeRequest{VolumeId: damaged}); err != nil || got.GetVolume().GetVolumeId() != damaged {
		t.Errorf("ControllerGetVolume: %v, %v", got, err)
	}
	if got, err := m.ValidateVolumeCapabilities(ctx, &csi.ValidateVolumeCapabilitiesRequest{VolumeId: damaged, VolumeCapabilities: []*csi.VolumeCapability{mount("")}}); err != nil || got.GetConfirmed() != nil || got.GetMessage() == "" {
		t.Errorf("ValidateVolumeCapabilities: %v, %v", got, err)
	}
	members := []string{handle("fast", volume.MemberName("g", "a")), handle("fast", volume.MemberName("g", "z"))}
	before := m.state()
	for what, do := range map[string]func() (any, error){
		"CreateVolume": func() (any, error) {
			return m.CreateVolume(ctx, newVolume("damaged", func(r *csi.CreateVolumeRequest) { r.Parameters = inPool("fast") }))
		},
		"CreateVolume without a pool": func() (any, error) { return m.CreateVolume(ctx, newVolume("damaged", nil)) },
		"clone": func() (any, error) {
			return m.CreateVolume(ctx, newVolume("new", func(r *csi.CreateVolumeRequest) {
				r.VolumeContentSource = ofVolume(damaged)
			}))
		},
		"restore": func() (any, error) {
			return m.CreateVolume(ctx, newVolume("new", func(r *csi.CreateVolumeRequest) {
				r.VolumeContentSource = ofSnapshot(damaged)
			}))
		},
		"DeleteVolume": func() (any, error) {
			return m.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: damaged})
		},
		"ControllerPublishVolume": func() (any, error) {
			return m.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{VolumeId: damaged, NodeId: node, VolumeCapability: mount("")})
		},
		"ControllerExpandVolume": func() (any, error) {
			return m.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{VolumeId: damaged, CapacityRange: &csi.CapacityRange{RequiredBytes: 100 * mib}})
		},
		"CreateSnapshot of it": func() (any, error) {
			return m.CreateSnapshot(ctx, &csi.CreateSnapshotRequest{Name: "new", SourceVolumeId: damaged})
		},
		"CreateSnapshot of its name": func() (any, error) {
			return m.CreateSnapshot(ctx, &csi.CreateSnapshotRequest{Name: "damaged", SourceVolumeId: handle("fast", "a")})
		},
		"DeleteSnapshot": func() (any, error) {
			return m.DeleteSnapshot(ctx, &csi.DeleteSnapshotRequest{SnapshotId: damaged})
		},
		"GetSnapshot": func() (any, error) { return m.GetSnapshot(ctx, &csi.GetSnapshotRequest{SnapshotId: damaged}) },
		"ListSnapshots, one": func() (any, error) {
			return m.ListSnapshots(ctx, &csi.ListSnapshotsRequest{SnapshotId: damaged})
		},
	} {
		answer, err := do()
		m.refused(volume.InUse, "damaged", answer, err)
		if after := m.state(); after != before {
			t.Errorf("%s: there was\n%sand is\n%s", what, before, after)
		}
	}
	for what, do := range map[string]func() (any, error){
		"GetVolumeGroupSnapshot": func() (any, error) {
			return m.GetVolumeGroupSnapshot(ctx, &csi.GetVolumeGroupSnapshotRequest{GroupSnapshotId: group, SnapshotIds: members})
		},
		"DeleteVolumeGroupSnapshot": func() (any, error) {
			return m.DeleteVolumeGroupSnapshot(ctx, &csi.DeleteVolumeGroupSnapshotRequest{GroupSnapshotId: group, SnapshotIds: members})
		},
		"CreateVolumeGroupSnapshot of its name": func() (any, error) {
			return m.CreateVolumeGroupSnapshot(ctx, &csi.CreateVolumeGroupSnapshotRequest{Name: "g", SourceVolumeIds: []string{handle("fast", "a"), handle("fast", "z")}})
		},
	} {
		answer, err := do()
		m.refused(volume.InUse, "is damaged", answer, err)
		if after := m.state(); after != before {
			t.Errorf("%s: there was\n%sand is\n%s", what, before, after)
		}
	}
	if _, err := m.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: damaged}); err != nil {
		t.Errorf("ControllerUnpublishVolume: %v", err)
	}
	if _, err := m.CreateSnapshot(ctx, &csi.CreateSnapshotRequest{Name: "another", SourceVolumeId: handle("fast", "a")}); err != nil {
		t.Errorf("CreateSnapshot of another one: %v", err)
	}
}
