package controller_test

import (
	"context"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/loam-storage/loam/controller"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
)

func TestCapacityIsThatOfWhatIsAskedFor(t *testing.T) {
	m := newMachine(t)
	m.create("slow", "v")
	capacity := func(available, least int64) *csi.GetCapacityResponse {
		return &csi.GetCapacityResponse{AvailableCapacity: available, MaximumVolumeSize: wrapperspb.Int64(available), MinimumVolumeSize: wrapperspb.Int64(least)}
	}
	slow, none := capacity(4*gib-8*mib, mib), &csi.GetCapacityResponse{}
	many := csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
	for _, c := range []struct {
		name string
		req  *csi.GetCapacityRequest
		want *csi.GetCapacityResponse
	}{
		{"nothing said", &csi.GetCapacityRequest{}, slow},
		{"a pool", &csi.GetCapacityRequest{Parameters: inPool("fast")}, capacity(2*gib, mib)},
		{"no such pool", &csi.GetCapacityRequest{Parameters: inPool("gone")}, none},
		{"this node", &csi.GetCapacityRequest{AccessibleTopology: at(volume.TopologyKey, node)}, slow},
		{"anywhere", &csi.GetCapacityRequest{AccessibleTopology: &csi.Topology{}}, slow},
		{"another node", &csi.GetCapacityRequest{AccessibleTopology: at(volume.TopologyKey, "n2")}, none},
		{"another key", &csi.GetCapacityRequest{AccessibleTopology: at("zone", node)}, none},
		{"block", &csi.GetCapacityRequest{VolumeCapabilities: caps(block())}, slow},
		{"xfs", &csi.GetCapacityRequest{VolumeCapabilities: caps(mount("xfs"), block())}, capacity(4*gib-8*mib, 300*mib)},
		{"as the external-provisioner asks", &csi.GetCapacityRequest{VolumeCapabilities: caps(&csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Mount{}, AccessMode: &csi.VolumeCapability_AccessMode{},
		})}, slow},
		{"an empty capability", &csi.GetCapacityRequest{VolumeCapabilities: caps(&csi.VolumeCapability{})}, slow},
		{"many nodes", &csi.GetCapacityRequest{VolumeCapabilities: caps(mount(""), withMode(mount(""), many))}, none},
		{"unknown file system", &csi.GetCapacityRequest{VolumeCapabilities: caps(mount("vfat"))}, none},
		{"two file systems", &csi.GetCapacityRequest{VolumeCapabilities: caps(mount("xfs"), mount("ext4"))}, none},
	} {
		if got, err := m.GetCapacity(t.Context(), c.req); err != nil || !proto.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

func TestAPoolTooFullForTheFileSystemHasNoCapacityForIt(t *testing.T) {
	m := machineWith(t, controller.Config{}, memory.New("fast", node, 64*volume.MiB))
	got, err := m.GetCapacity(t.Context(), &csi.GetCapacityRequest{VolumeCapabilities: caps(mount("xfs"))})
	if want := (&csi.GetCapacityResponse{MinimumVolumeSize: wrapperspb.Int64(300 * mib)}); err != nil || !proto.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

// broken is a pool whose disk is gone.
type broken struct{ pool.Snapshotter }

var errBroken = volume.Errorf(volume.Unavailable, "pool %q: the disk is gone", "fast")

func (broken) Status(context.Context) (volume.PoolStatus, error) {
	return volume.PoolStatus{}, errBroken
}

func (broken) List(context.Context, string, int) ([]volume.Volume, error) { return nil, errBroken }

func (broken) Get(context.Context, volume.ID) (volume.Volume, error) {
	return volume.Volume{}, errBroken
}

func (broken) ListSnapshots(context.Context, string, int) ([]volume.Snapshot, error) {
	return nil, errBroken
}

func (broken) GetSnapshot(context.Context, volume.ID) (volume.Snapshot, error) {
	return volume.Snapshot{}, errBroken
}

func (broken) GetGroup(context.Context, volume.ID) ([]volume.Snapshot, error) { return nil, errBroken }

// A list that leaves out what could not be read would be taken for the truth.
func TestAPoolThatCannotBeReadIsAnErrorAndNotEmpty(t *testing.T) {
	slow := memory.New("slow", node, volume.GiB)
	whole := machineWith(t, controller.Config{}, slow)
	whole.create("slow", "v")
	m := machineWith(t, controller.Config{}, slow, broken{memory.New("fast", node, volume.GiB)})
	ctx := t.Context()
	for name, do := range map[string]func() (any, error){
		"GetCapacity":   func() (any, error) { return m.GetCapacity(ctx, &csi.GetCapacityRequest{Parameters: inPool("fast")}) },
		"ListVolumes":   func() (any, error) { return m.ListVolumes(ctx, &csi.ListVolumesRequest{}) },
		"ListSnapshots": func() (any, error) { return m.ListSnapshots(ctx, &csi.ListSnapshotsRequest{}) },
		"ListSnapshots of a volume": func() (any, error) {
			return m.ListSnapshots(ctx, &csi.ListSnapshotsRequest{SourceVolumeId: handle("fast", "v")})
		},
		"ListSnapshots, one": func() (any, error) {
			return m.ListSnapshots(ctx, &csi.ListSnapshotsRequest{SnapshotId: handle("fast", "s")})
		},
		"GetSnapshot": func() (any, error) {
			return m.GetSnapshot(ctx, &csi.GetSnapshotRequest{SnapshotId: handle("fast", "s")})
		},
		"DeleteVolumeGroupSnapshot": func() (any, error) {
			return m.DeleteVolumeGroupSnapshot(ctx, &csi.DeleteVolumeGroupSnapshotRequest{GroupSnapshotId: handle("fast", "g")})
		},
		"GetVolumeGroupSnapshot": func() (any, error) {
			return m.GetVolumeGroupSnapshot(ctx, &csi.GetVolumeGroupSnapshotRequest{GroupSnapshotId: handle("fast", "g")})
		},
		// What has the name may be in the pool that cannot be read.
		"CreateVolume elsewhere": func() (any, error) {
			return m.CreateVolume(ctx, newVolume("w", func(r *csi.CreateVolumeRequest) {
				r.AccessibilityRequirements = requisite(at(volume.TopologyKey, "n2"))
			}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := whole.state()
			answer, err := do()
			(&machine{T: t}).refused(volume.Unavailable, "fast", answer, err)
			if after := whole.state(); after != before {
				t.Errorf("there was\n%sand is\n%s", before, after)
			}
		})
	}
}

// A dead disk stops nothing on the others: who names no pool asks for the first one.
func TestAPoolThatCannotBeReadIsNoMatterToTheOthers(t *testing.T) {
	slow := memory.New("slow", node, volume.GiB)
	id := machineWith(t, controller.Config{}, slow).create("slow", "v").GetVolumeId()
	m := machineWith(t, controller.Config{MaxVolumes: 1}, slow, broken{memory.New("fast", node, volume.GiB)})
	ctx := t.Context()
	for name, do := range map[string]func() (any, error){
		"CreateVolume in the first pool": func() (any, error) { return m.CreateVolume(ctx, newVolume("x", nil)) },
		"ControllerPublishVolume": func() (any, error) {
			return m.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: node, VolumeCapability: mount("")})
		},
		"CreateVolume in a pool": func() (any, error) {
			return m.CreateVolume(ctx, newVolume("w", func(r *csi.CreateVolumeRequest) { r.Parameters = inPool("slow") }))
		},
		"CreateSnapshot": func() (any, error) {
			return m.CreateSnapshot(ctx, &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: id})
		},
		"CreateVolumeGroupSnapshot": func() (any, error) {
			return m.CreateVolumeGroupSnapshot(ctx, &csi.CreateVolumeGroupSnapshotRequest{Name: "g", SourceVolumeIds: []string{id}})
		},
	} {
		if answer, err := do(); err != nil {
			t.Errorf("%s answered %v, %v", name, answer, err)
		}
	}
}
