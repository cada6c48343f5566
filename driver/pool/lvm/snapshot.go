package lvm

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// CreateSnapshot takes thin or copy-on-write snapshots. device-mapper suspends a volume for the moment in
// which its snapshot is taken, and with it the file system on it, so nothing is frozen here.
func (p *Pool) CreateSnapshot(ctx context.Context, spec volume.SnapshotSpec) ([]volume.Snapshot, error) {
	if !p.owns(spec.ID) {
		return nil, p.missing(spec.ID)
	}
	if err := spec.Check(); err != nil {
		return nil, err
	}
	if spec.Group {
		return p.createGroup(ctx, spec)
	}
	name := p.lvName(forSnapshot, spec.ID.Name)
	g, err := p.vg.Layout(ctx)
	if err != nil {
		return nil, err
	}
	if taken, err := p.existing(g, spec); err != nil || len(taken) > 0 {
		return taken, err
	}
	origin, err := p.origin(g, spec.Volumes[0])
	if err != nil {
		return nil, err
	}
	if err := p.makeReady(ctx, spec.Volumes[0], origin); err != nil {
		return nil, err
	}
	s, err := p.snapshotOf(g, spec.Volumes[0], origin, name, time.Now(), p.readySnapshot(origin, tagSnapshot+spec.ID.String())...)
	if err != nil {
		return nil, err
	}
	cost := p.layout.snapshotCost(s.Size)
	if err := p.take(ctx, cost, func() error { return p.lvsnapshot(ctx, origin.Name, s, false) }); err != nil {
		return p.taken(ctx, spec, cost, err)
	}
	taken, err := p.snapshot(s)
	return []volume.Snapshot{taken}, err
}

// taken says what is there after a command failed that was to take a snapshot.
func (p *Pool) taken(ctx context.Context, spec volume.SnapshotSpec, cost int64, failed error) ([]volume.Snapshot, error) {
	if !vg.IsExit(failed) && !volume.Is(failed, volume.Full) {
		return nil, failed
	}
	r, err := p.vg.Report(ctx)
	if err != nil {
		return nil, unread(failed, err)
	}
	g := &r.Layout
	if taken, err := p.existing(g, spec); err != nil || len(taken) > 0 {
		return taken, err
	}
	if _, err := p.origin(g, spec.Volumes[0]); err != nil {
		return nil, err
	}
	if l, there := g.Find(p.lvName(forSnapshot, spec.ID.Name)); there && p.ours(l) { // half made
		return nil, errors.Join(p.explain(failed, r, cost), p.remove(ctx, l.Name, p.identity(l)))
	} else if there {
		return nil, volume.Errorf(volume.Exists, "snapshot %q: there is a logical volume of that name in volume group %q already, and it is not of this pool and node: rename that one", spec.ID, g.Name)
	}
	return nil, p.explain(failed, r, cost)
}

// existing returns the snapshots that spec's name stands for now, none if it is free. The kind of its
// error is Exists where they are not what spec asks for.
func (p *Pool) existing(g *vg.Layout, spec volume.SnapshotSpec) ([]volume.Snapshot, error) {
	found, err := p.snapshotsOf(g, func(s volume.Snapshot) bool {
		return (spec.Group && s.Group == spec.ID.Name) || (!spec.Group && s.ID == spec.ID)
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return spec.InOrder(found), errors.Join(volume.FitsSpec(found, spec), p.vg.Flush())
}

// snapshotsOf returns those snapshots that are meant, each of which has the name that loam gave it.
func (p *Pool) snapshotsOf(g *vg.Layout, meant func(volume.Snapshot) bool) (found []volume.Snapshot, err error) {
	all, err := p.snapshots(g, "", 0)
	for _, s := range all {
		if !meant(s) {
			continue
		}
		if _, _, err := p.snapshotIn(g, s.ID); err != nil {
			return nil, err
		}
		found = append(found, s)
	}
	return found, err
}

// origin finds the volume that a snapshot or copy is to be taken of. The kind of its error is InUse where what is
// written through another device of its bytes would be missing.
func (p *Pool) origin(g *vg.Layout, id volume.ID) (vg.LV, error) {
	l, ok, err := p.volumeIn(g, id)
	if err != nil {
		return vg.LV{}, err
	}
	if !ok || p.halfMade(g, l) {
		return vg.LV{}, p.missing(id)
	}
	v, err := p.volume(l)
	if err == nil {
		err = v.Usable()
	}
	if err != nil {
		return vg.LV{}, err
	}
	return l, p.grownByOthers(id, l)
}

// readySnapshot returns the tags of a snapshot that holds what is its volume's.
func (p *account) readySnapshot(origin vg.LV, tags ...string) []string {
	if p.layout.wipes() {
		tags = append(tags, readyToTag(origin.Size))
	}
	return append(tags, tagReady)
}

// snapshotOf describes a snapshot that is to be taken.
func (p *Pool) snapshotOf(g *vg.Layout, id volume.ID, origin vg.LV, name string, at time.Time, tags ...string) (vg.LV, error) {
	of, err := readRecord(origin.Tags)
	if err != nil {
		return vg.LV{}, volume.Errorf(volume.Internal, "volume %q: %w", id, err)
	}
	if of.BlockBytes, err = p.blockOf(g, origin); err != nil { // the snapshot may outlive where the volume lies now
		return vg.LV{}, err
	}
	record, err := recordTags(volume.SnapshotRecord(volume.Volume{ID: id, FSType: of.FSType, BlockBytes: of.BlockBytes, Mark: markOf(origin)}, at))
	return vg.LV{Name: name, Size: origin.Size, Origin: origin.Name, Tags: slices.Concat(tags, record)}, err
}

// snapshot makes a snapshot of its logical volume.
func (o owner) snapshot(l vg.LV) (volume.Snapshot, error) {
	text, _ := tagged(l.Tags, tagSnapshot)
	id, err := volume.ParseID(text)
	if err != nil {
		return volume.Snapshot{}, err
	}
	group, _ := tagged(l.Tags, tagGroup)
	if damage := o.damageOf(l); damage != "" {
		return volume.Snapshot{ID: id, Size: l.Size, Group: group, Damage: damage}, nil
	}
	r, err := readRecord(l.Tags)
	if err != nil {
		return volume.Snapshot{}, volume.Errorf(volume.Internal, "snapshot %q: %w", id, err)
	}
	return volume.Snapshot{ID: id, Volume: *r.Volume, Size: l.Size, Created: r.Created, Group: group, FSType: r.FSType, BlockBytes: r.BlockBytes, Mark: r.Mark.OfCopy()}, nil
}

// snapshotOfList is snapshot for one that may be listed by its name alone.
func (o owner) snapshotOfList(l listed) (volume.Snapshot, error) {
	s, err := o.snapshot(l.LV)
	s.Damage = cmp.Or(l.damage, s.Damage)
	return s, err
}

// GetSnapshot finds a snapshot, alone or in a group.
func (p *Pool) GetSnapshot(ctx context.Context, id volume.ID) (volume.Snapshot, error) {
	g, err := p.layoutFor(ctx, id)
	if err != nil {
		return volume.Snapshot{}, err
	}
	if l, ok := p.anonymousOf(g, id, tagSnapshot); ok {
		return p.snapshotOfList(listed{LV: p.sign(l, tagSnapshot, id), damage: p.anonymousText(l, tagSnapshot+id.String())})
	}
	l, err := p.findSnapshot(g, id)
	if err != nil {
		return volume.Snapshot{}, err
	}
	return p.snapshot(l)
}

func (p *Pool) findSnapshot(g *vg.Layout, id volume.ID) (vg.LV, error) {
	l, ok, err := p.snapshotIn(g, id)
	if err != nil {
		return vg.LV{}, err
	}
	if !ok || p.halfMade(g, l) {
		return vg.LV{}, p.missing(id)
	}
	return l, nil
}

// ListSnapshots reads the tags of all logical volumes.
func (p *Pool) ListSnapshots(ctx context.Context, after string, limit int) ([]volume.Snapshot, error) {
	g, err := p.vg.Layout(ctx)
	if err != nil {
		return nil, err
	}
	return p.snapshots(g, after, limit)
}

// snapshots returns a page of the snapshots that are whole, in the order of their names.
func (o owner) snapshots(g *vg.Layout, after string, limit int) (all []volume.Snapshot, err error) {
	for _, l := range o.listed(g, tagSnapshot, after, limit) {
		s, err := o.snapshotOfList(l)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// DeleteSnapshot removes a snapshot taken alone.
func (p *Pool) DeleteSnapshot(ctx context.Context, id volume.ID) error {
	if !p.owns(id) {
		return nil
	}
	g, err := p.vg.Layout(ctx)
	if err != nil {
		return err
	}
	l, there, err := p.snapshotIn(g, id)
	if err != nil {
		return err
	}
	if !there {
		return p.gone(ctx, g, p.lvName(forSnapshot, id.Name), p.lvName(forMember, id.Name))
	}
	if err := p.intact(g, l); err != nil {
		return err
	}
	if group, ok := tagged(l.Tags, tagGroup); ok {
		return volume.Errorf(volume.Invalid, "snapshot %q belongs to group %q: delete the group", id, group)
	}
	return p.remove(ctx, l.Name, tagSnapshot+id.String())
}
