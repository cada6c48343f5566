package crash_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

func fromSnapshot(handle string) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
		Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: handle},
	}}
}

func fromVolume(handle string) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
		Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: handle},
	}}
}

func (m *model) snapshot(v vol, name string) operation {
	one := snap{handle: handleOf(v.pool, name), pool: v.pool, form: v.form, volume: v.handle, size: v.size, data: v.data}
	o := named("CreateSnapshot", v.pool+" "+v.form, "%s of %s", one.handle, v.handle)
	o.freezes = m.frozenWith(v.handle)
	o.call = func(ctx context.Context, c clients) error {
		answer, err := c.CreateSnapshot(ctx, &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: v.handle})
		if err != nil {
			return err
		}
		return one.isAnswer(answer.GetSnapshot())
	}
	o.change = func(m *model) { m.snapshots[one.handle] = one }
	return o
}

func (s snap) isAnswer(got *csi.Snapshot) error {
	has := describeSnapshot(got.GetSizeBytes(), got.GetSourceVolumeId(), got.GetGroupSnapshotId())
	if got.GetSnapshotId() != s.handle || !got.GetReadyToUse() || has != describeSnapshot(int64(s.size), s.volume, s.group) {
		return wrong("snapshot", got, s.handle)
	}
	return nil
}

func (m *model) deleteSnapshot(s snap) operation {
	o := named("DeleteSnapshot", s.pool, "%s", s.handle)
	o.call = func(ctx context.Context, c clients) error {
		_, err := c.DeleteSnapshot(ctx, &csi.DeleteSnapshotRequest{SnapshotId: s.handle})
		return err
	}
	o.change = func(m *model) { delete(m.snapshots, s.handle) }
	return o
}

// snapshotGroup takes snapshots of volumes of one pool.
func (m *model) snapshotGroup(volumes []vol, name string) operation {
	pool, handles := volumes[0].pool, make([]string, len(volumes))
	members := make([]snap, len(volumes))
	for i, v := range volumes {
		handles[i] = v.handle
		members[i] = snap{
			handle: volume.ID{Node: nodeName, Pool: pool, Name: volume.MemberName(volume.NameFor(name), nameOf(v.handle))}.String(),
			pool:   pool, form: v.form, volume: v.handle, group: handleOf(pool, name), size: v.size, data: v.data,
		}
	}
	o := named("CreateVolumeGroupSnapshot", fmt.Sprint(pool, len(volumes)), "%s of %v", members[0].group, handles)
	o.freezes = m.frozenWith(handles...)
	o.call = func(ctx context.Context, c clients) error {
		answer, err := c.CreateVolumeGroupSnapshot(ctx, &csi.CreateVolumeGroupSnapshotRequest{Name: name, SourceVolumeIds: handles})
		if err != nil {
			return err
		}
		got := answer.GetGroupSnapshot()
		if got.GetGroupSnapshotId() != members[0].group || !got.GetReadyToUse() || len(got.GetSnapshots()) != len(members) {
			return wrong("group", got, members[0].group)
		}
		for i, one := range members {
			if err := one.isAnswer(got.GetSnapshots()[i]); err != nil {
				return err
			}
		}
		return nil
	}
	o.change = func(m *model) {
		for _, one := range members {
			m.snapshots[one.handle] = one
		}
	}
	return o
}

func (m *model) deleteGroup(group string) operation {
	members := m.groups()[group]
	o := named("DeleteVolumeGroupSnapshot", "", "%s", group)
	o.call = func(ctx context.Context, c clients) error {
		_, err := c.DeleteVolumeGroupSnapshot(ctx, &csi.DeleteVolumeGroupSnapshotRequest{GroupSnapshotId: group, SnapshotIds: slices.Clone(members)})
		return err
	}
	o.change = func(m *model) {
		for _, handle := range members {
			delete(m.snapshots, handle)
		}
	}
	return o
}
