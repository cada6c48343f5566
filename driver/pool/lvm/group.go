package lvm

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// createGroup takes the snapshots of a group one after the other, and then at one instant those of volumes that can
// be written to (instant.go). Until that is done, they carry the tag of what is half made.
func (p *Pool) createGroup(ctx context.Context, spec volume.SnapshotSpec) ([]volume.Snapshot, error) {
	g, err := p.vg.Layout(ctx)
	if err != nil {
		return nil, err
	}
	if taken, err := p.existing(g, spec); err != nil || len(taken) > 0 {
		return taken, err
	}
	members, cost, err := p.members(g, spec)
	if err != nil {
		return nil, err
	}
	if err := p.removeGroup(ctx, g, spec.ID.Name); err != nil { // left half made
		return nil, err
	}
	err = p.take(ctx, cost, func() error {
		for i, m := range members {
			if err := p.makeReady(ctx, spec.Volumes[i], m.volume); err != nil {
				return err
			}
			if err := p.lvsnapshot(ctx, m.volume.Name, m.LV, false); err != nil {
				return err
			}
		}
		if err := p.atOneInstant(ctx, members); err != nil {
			return err
		}
		return p.tagGroup(ctx, spec.ID.Name, nil, []string{tagMaking})
	})
	after, lookErr := p.vg.Layout(ctx)
	if lookErr != nil {
		return nil, errors.Join(err, lookErr)
	}
	if err != nil {
		return nil, errors.Join(p.why(ctx, err, cost), p.removeGroup(ctx, after, spec.ID.Name))
	}
	return p.existing(after, spec)
}

// member is a snapshot of a group that is to be taken.
type member struct {
	volume vg.LV
	vg.LV
}

// members describes the snapshots that a group is to have, and says what they cost.
func (p *Pool) members(g *vg.Layout, spec volume.SnapshotSpec) (members []member, cost int64, err error) {
	now := time.Now()
	for i, id := range spec.Members() {
		origin, err := p.origin(g, spec.Volumes[i])
		if err != nil {
			return nil, 0, err
		}
		tags := p.readySnapshot(origin, tagSnapshot+id.String(), tagGroup+spec.ID.Name, tagMaking)
		s, err := p.snapshotOf(g, spec.Volumes[i], origin, p.lvName(forMember, id.Name), now, tags...)
		if err != nil {
			return nil, 0, err
		}
		members, cost = append(members, member{origin, s}), cost+p.layout.snapshotCost(s.Size)
	}
	return members, cost, nil
}

// tagGroup changes the tags of all members of a group.
func (p *lvs) tagGroup(ctx context.Context, name string, add, del []string) error {
	return p.vg.Change(ctx, vg.Tag(vg.Select{Like: "^" + p.memberPattern(), Tags: []string{tagGroup + name}}, add, del))
}

// removeGroup removes all that is there of a group.
func (p *lvs) removeGroup(ctx context.Context, g *vg.Layout, name string) error {
	if err := p.membersNamed(g, name); err != nil {
		return err
	}
	for _, l := range g.LVs {
		if in, ok := tagged(l.Tags, tagGroup); ok && in == name && p.ours(l) {
			if err := p.remove(ctx, l.Name, p.identity(l)); err != nil {
				return err
			}
		}
	}
	return nil
}

// GetGroup reads the snapshots of a group.
func (p *Pool) GetGroup(ctx context.Context, id volume.ID) ([]volume.Snapshot, error) {
	g, err := p.layoutFor(ctx, id)
	if err != nil {
		return nil, err
	}
	members, err := p.snapshotsOf(g, func(s volume.Snapshot) bool { return s.Group == id.Name })
	if err == nil && len(members) == 0 {
		err = p.missing(id)
	}
	return members, err
}

// DeleteGroup hides all snapshots of a group and then removes them. Where that is cut off, the rest of
// them stays hidden and is removed when the pool is opened or the call repeated.
func (p *Pool) DeleteGroup(ctx context.Context, id volume.ID) error {
	if !p.owns(id) {
		return nil
	}
	g, err := p.vg.Layout(ctx)
	if err != nil {
		return err
	}
	if err := p.membersNamed(g, id.Name); err != nil {
		return err
	}
	for _, l := range g.LVs {
		if err := p.intact(g, l); err != nil && l.Has(tagGroup+id.Name) {
			return err
		}
	}
	if !slices.ContainsFunc(g.LVs, func(l vg.LV) bool { return l.Has(tagGroup+id.Name) && p.ours(l) }) {
		return p.gone(ctx, g)
	}
	if err := p.tagGroup(ctx, id.Name, []string{tagMaking}, nil); err != nil {
		return p.why(ctx, err, 0)
	}
	return p.removeGroup(ctx, g, id.Name)
}
