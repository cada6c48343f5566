package controller

import (
	"context"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// CreateVolumeGroupSnapshot takes snapshots of several volumes of one pool at one instant.
func (s *Server) CreateVolumeGroupSnapshot(ctx context.Context, req *csi.CreateVolumeGroupSnapshotRequest) (*csi.CreateVolumeGroupSnapshotResponse, error) {
	spec, err := parseGroup(req)
	if err != nil {
		return nil, err
	}
	p, err := s.pools.SnapshotterOf(spec.ID)
	if err != nil {
		return nil, err
	}
	// The source says in which pool, so another one that cannot be read is no matter.
	holder, _ := s.holder(req.GetName(), p.Name(), func(p pool.Pool, id volume.ID) error {
		_, err := members(ctx, p, id)
		return err
	})
	if holder != nil {
		return nil, volume.Errorf(volume.Exists, "group snapshot %q exists already, of volumes in pool %q", s.id(holder, req.GetName()), holder.Name())
	}
	taken, err := p.CreateSnapshot(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &csi.CreateVolumeGroupSnapshotResponse{GroupSnapshot: s.group(spec.ID, taken)}, nil
}

// parseGroup reads the request. The group is where its first volume is, and the others must be too.
func parseGroup(req *csi.CreateVolumeGroupSnapshotRequest) (spec volume.SnapshotSpec, err error) {
	if spec.MaxFreeze, err = parseSnapshotRequest(req.GetName(), req.GetParameters()); err != nil {
		return spec, err
	}
	if len(req.GetSourceVolumeIds()) == 0 {
		return spec, volume.Errorf(volume.Invalid, "source_volume_ids are missing")
	}
	spec.Group = true
	for _, handle := range req.GetSourceVolumeIds() {
		if err := required("one of source_volume_ids", handle); err != nil {
			return spec, err
		}
		id, err := volume.ParseID(handle)
		if err != nil {
			return spec, err
		}
		spec.Volumes = append(spec.Volumes, id)
	}
	spec.ID = volume.ID{Node: spec.Volumes[0].Node, Pool: spec.Volumes[0].Pool, Name: volume.NameFor(req.GetName())}
	return spec, spec.Check()
}

// DeleteVolumeGroupSnapshot removes a group with all its snapshots. One that is not there is removed
// already, whatever snapshot_ids say.
func (s *Server) DeleteVolumeGroupSnapshot(ctx context.Context, req *csi.DeleteVolumeGroupSnapshotRequest) (*csi.DeleteVolumeGroupSnapshotResponse, error) {
	if err := required("group_snapshot_id", req.GetGroupSnapshotId()); err != nil {
		return nil, err
	}
	p, id, err := s.toRemove(req.GetGroupSnapshotId())
	if err != nil {
		return nil, err
	}
	snapshots, ok := p.(pool.Snapshotter)
	if !ok {
		return &csi.DeleteVolumeGroupSnapshotResponse{}, nil
	}
	has, err := snapshots.GetGroup(ctx, id)
	if volume.Is(err, volume.NotFound) {
		return &csi.DeleteVolumeGroupSnapshotResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := checkMembers(id, has, req.GetSnapshotIds()); err != nil {
		return nil, err
	}
	if err := snapshots.DeleteGroup(ctx, id); err != nil {
		return nil, err
	}
	return &csi.DeleteVolumeGroupSnapshotResponse{}, nil
}

// GetVolumeGroupSnapshot returns one group.
func (s *Server) GetVolumeGroupSnapshot(ctx context.Context, req *csi.GetVolumeGroupSnapshotRequest) (*csi.GetVolumeGroupSnapshotResponse, error) {
	if err := required("group_snapshot_id", req.GetGroupSnapshotId()); err != nil {
		return nil, err
	}
	id, err := volume.ParseID(req.GetGroupSnapshotId())
	if err != nil {
		return nil, err
	}
	p, err := s.pools.Of(id)
	if err != nil {
		return nil, err
	}
	has, err := members(ctx, p, id)
	if err != nil {
		return nil, err
	}
	if err := checkMembers(id, has, req.GetSnapshotIds()); err != nil {
		return nil, err
	}
	for _, sn := range has {
		if err := sn.Intact(); err != nil {
			return nil, err
		}
	}
	return &csi.GetVolumeGroupSnapshotResponse{GroupSnapshot: s.group(id, has)}, nil
}

// members returns the snapshots of a group, NotFound if there is none, also in a pool that cannot
// have any.
func members(ctx context.Context, p pool.Pool, id volume.ID) ([]volume.Snapshot, error) {
	snapshots, ok := p.(pool.Snapshotter)
	if !ok {
		return nil, volume.Errorf(volume.NotFound, "group snapshot %q is not there: pool %q cannot take snapshots", id, p.Name())
	}
	return snapshots.GetGroup(ctx, id)
}

// checkMembers says whether the caller knows the group as it is, in any order; has is in the order of
// its names. The kind of its error is Invalid.
func checkMembers(id volume.ID, has []volume.Snapshot, handles []string) error {
	want := make([]string, len(has))
	for i, sn := range has {
		want[i] = sn.ID.String()
	}
	if !slices.Equal(want, slices.Sorted(slices.Values(handles))) {
		return volume.Errorf(volume.Invalid, "snapshot_ids are not those of group snapshot %q: it has %d snapshots, and %d are named",
			id, len(has), len(handles))
	}
	return nil
}
