package lvm

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/loam-storage/loam/driver/volume"
)

// CreateSnapshot takes thin snapshots. device-mapper suspends a volume for the moment in which its
// snapshot is taken, and with it the file system on it, so nothing is frozen here.
func (t ThinPool) CreateSnapshot(ctx context.Context, spec volume.SnapshotSpec) ([]volume.Snapshot, error) {
	if !t.owns(spec.ID) {
		return nil, t.missing(spec.ID)
	}
	if err := spec.Check(); err != nil {
		return nil, err
	}
	if spec.Group {
		return t.createGroup(ctx, spec)
	}
	name := t.lvName(forSnapshot, spec.ID.Name)
	origin, likely := t.guess(t.lvName(forVolume, spec.Volumes[0].Name))
	_, exists := t.guess(name)
	if !likely || exists || !origin.has(tagReady) {
		g, err := t.look(ctx)
		if err != nil {
			return nil, err
		}
		if taken, err := t.existing(g, spec); err != nil || len(taken) > 0 {
			return taken, err
		}
		if origin, err = t.origin(g, spec.Volumes[0]); err != nil {
			return nil, err
		}
	}
	s, err := t.snapshotOf(spec.Volumes[0], origin, name, time.Now(), tagSnapshot+spec.ID.String(), tagReady)
	if err != nil {
		return nil, err
	}
	if err := t.take(ctx, t.cost(s.size), func() error { return t.lvsnapshot(ctx, origin.name, s, false) }); err != nil {
		return t.taken(ctx, spec, t.cost(s.size), err)
	}
	t.learn(s)
	taken, err := t.snapshot(s)
	return []volume.Snapshot{taken}, err
}

// taken says what is there after a command failed that was to take a snapshot.
func (t ThinPool) taken(ctx context.Context, spec volume.SnapshotSpec, cost int64, failed error) ([]volume.Snapshot, error) {
	if !isExit(failed) && !volume.Is(failed, volume.Full) {
		return nil, failed
	}
	g, err := t.look(ctx)
	if err != nil {
		return nil, errors.Join(t.explain(failed, nil, cost), err)
	}
	if taken, err := t.existing(g, spec); err != nil || len(taken) > 0 {
		return taken, err
	}
	if _, err := t.origin(g, spec.Volumes[0]); err != nil {
		return nil, err
	}
	if _, there := g.find(t.lvName(forSnapshot, spec.ID.Name)); there {
		return nil, volume.Errorf(volume.Exists, "snapshot %q: there is a logical volume of that name in volume group %q already, and it is not of this pool and node: rename that one", spec.ID, g.name)
	}
	return nil, t.explain(failed, g, cost)
}

// existing returns the snapshots that spec's name stands for now, none if it is free. The kind of its
// error is Exists where they are not what spec asks for.
func (t ThinPool) existing(g *group, spec volume.SnapshotSpec) ([]volume.Snapshot, error) {
	var found []volume.Snapshot
	for _, l := range t.listed(g, tagSnapshot, "", 0) {
		s, err := t.snapshot(l)
		if err != nil {
			return nil, err
		}
		if (spec.Group && s.Group == spec.ID.Name) || (!spec.Group && s.ID == spec.ID) {
			found = append(found, s)
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	return spec.InOrder(found), volume.FitsSpec(found, spec)
}

// origin finds the volume that a snapshot is to be taken of.
func (t ThinPool) origin(g *group, id volume.ID) (lv, error) {
	l, ok := g.find(t.lvName(forVolume, id.Name))
	if !ok || !l.has(tagVolume+id.String()) || t.halfMade(g, l) {
		return lv{}, t.missing(id)
	}
	return l, nil
}

// snapshotOf describes a snapshot that is to be taken.
func (t ThinPool) snapshotOf(id volume.ID, origin lv, name string, at time.Time, tags ...string) (lv, error) {
	of, err := readRecord(origin.tags)
	if err != nil {
		return lv{}, volume.Errorf(volume.Internal, "volume %q: %w", id, err)
	}
	record, err := recordTags(volume.SnapshotRecord(id, of.FSType, at))
	return lv{name: name, size: origin.size, tags: slices.Concat(tags, record)}, err
}

// lvsnapshot makes a thin snapshot of a logical volume in one command. One that is no volume yet can
// neither be written to nor activated by chance.
func (t ThinPool) lvsnapshot(ctx context.Context, origin string, s lv, writable bool) error {
	further, err := t.keepReadOnly(origin)
	if err != nil {
		return err
	}
	permission := "r"
	if writable {
		permission = "rw"
	}
	args := []string{"lvcreate", "--yes", "--snapshot", "--activate", "n", "--setactivationskip", "y", "--permission", permission, "--name", s.name}
	_, err = t.lvmWith(ctx, further, slices.Concat(args, addTags(s.tags...), []string{t.config.VolumeGroup + "/" + origin})...)
	return err
}

// snapshot makes a snapshot of its logical volume.
func (p *Pool) snapshot(l lv) (volume.Snapshot, error) {
	text, _ := tagged(l.tags, tagSnapshot)
	id, err := volume.ParseID(text)
	if err != nil {
		return volume.Snapshot{}, err
	}
	r, err := readRecord(l.tags)
	if err == nil && r.Volume == nil {
		err = volume.Errorf(volume.Internal, "its record does not say what it was taken of")
	}
	if err != nil {
		return volume.Snapshot{}, volume.Errorf(volume.Internal, "snapshot %q: %w", id, err)
	}
	group, _ := tagged(l.tags, tagGroup)
	return volume.Snapshot{ID: id, Volume: *r.Volume, Size: l.size, Created: r.Created, Group: group, FSType: r.FSType}, nil
}

// GetSnapshot finds a snapshot, alone or in a group.
func (t ThinPool) GetSnapshot(ctx context.Context, id volume.ID) (volume.Snapshot, error) {
	if !t.owns(id) {
		return volume.Snapshot{}, t.missing(id)
	}
	g, err := t.look(ctx)
	if err != nil {
		return volume.Snapshot{}, err
	}
	l, err := t.findSnapshot(g, id)
	if err != nil {
		return volume.Snapshot{}, err
	}
	return t.snapshot(l)
}

func (t ThinPool) findSnapshot(g *group, id volume.ID) (lv, error) {
	for _, what := range []string{forSnapshot, forMember} {
		l, ok := g.find(t.lvName(what, id.Name))
		if ok && l.has(tagSnapshot+id.String()) && !t.halfMade(g, l) {
			return l, nil
		}
	}
	return lv{}, t.missing(id)
}

// ListSnapshots reads all snapshots in one report.
func (t ThinPool) ListSnapshots(ctx context.Context, after string, limit int) ([]volume.Snapshot, error) {
	g, err := t.look(ctx)
	if err != nil {
		return nil, err
	}
	var snapshots []volume.Snapshot
	for _, l := range t.listed(g, tagSnapshot, after, limit) {
		s, err := t.snapshot(l)
		if err != nil {
			return nil, err
		}
		snapshots = append(snapshots, s)
	}
	return snapshots, nil
}

// DeleteSnapshot removes a snapshot taken alone.
func (t ThinPool) DeleteSnapshot(ctx context.Context, id volume.ID) error {
	if !t.owns(id) {
		return nil
	}
	if strings.HasPrefix(id.Name, "g-") { // perhaps a member of a group
		if s, err := t.GetSnapshot(ctx, id); err == nil && s.Group != "" {
			return volume.Errorf(volume.Invalid, "snapshot %q belongs to group %q: delete the group", id, s.Group)
		}
	}
	return t.remove(ctx, t.lvName(forSnapshot, id.Name), tagSnapshot+id.String())
}
