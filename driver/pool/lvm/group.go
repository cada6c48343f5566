package lvm

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/loam-storage/loam/driver/volume"
)

// createGroup takes the snapshots of a group one after the other. Together they are of one instant if at
// most one of the volumes can be written to meanwhile, so at most one may be attached (see
// docs/decisions/0007-lvm.md). Until the last one is taken, they carry the tag of what is half made.
func (t ThinPool) createGroup(ctx context.Context, spec volume.SnapshotSpec) ([]volume.Snapshot, error) {
	g, err := t.look(ctx)
	if err != nil {
		return nil, err
	}
	if taken, err := t.existing(g, spec); err != nil || len(taken) > 0 {
		return taken, err
	}
	members, cost, err := t.members(g, spec)
	if err != nil {
		return nil, err
	}
	if err := t.removeGroup(ctx, g, spec.ID.Name); err != nil { // left half made
		return nil, err
	}
	if err := t.atMostOneAttached(spec.ID, members); err != nil {
		return nil, err
	}
	err = t.take(ctx, cost, func() error {
		for _, m := range members {
			if err := t.lvsnapshot(ctx, m.origin, m.lv, false); err != nil {
				return err
			}
		}
		return t.tagGroup(ctx, spec.ID.Name, delTags(tagMaking))
	})
	after, lookErr := t.look(ctx)
	if lookErr != nil {
		return nil, errors.Join(t.explain(err, nil, cost), lookErr)
	}
	if err != nil {
		return nil, errors.Join(t.explain(err, after, cost), t.removeGroup(ctx, after, spec.ID.Name))
	}
	return t.existing(after, spec)
}

// member is a snapshot of a group that is to be taken.
type member struct {
	origin string // name of the logical volume
	lv
}

// members describes the snapshots that a group is to have, and says what they cost.
func (t ThinPool) members(g *group, spec volume.SnapshotSpec) (members []member, cost int64, err error) {
	now := time.Now()
	for i, id := range spec.Members() {
		origin, err := t.origin(g, spec.Volumes[i])
		if err != nil {
			return nil, 0, err
		}
		tags := []string{tagSnapshot + id.String(), tagGroup + spec.ID.Name, tagMaking, tagReady}
		s, err := t.snapshotOf(spec.Volumes[i], origin, t.lvName(forMember, id.Name), now, tags...)
		if err != nil {
			return nil, 0, err
		}
		members, cost = append(members, member{origin.name, s}), cost+t.cost(s.size)
	}
	return members, cost, nil
}

// atMostOneAttached says whether the snapshots can be of one instant. The kind of its error is
// Unsupported.
func (t ThinPool) atMostOneAttached(id volume.ID, members []member) error {
	attached := 0
	for _, m := range members {
		_, active, err := t.device(m.origin)
		if err != nil {
			return err
		}
		if active {
			attached++
		}
	}
	if attached > 1 {
		return volume.Errorf(volume.Unsupported, "group %q: pool %q cannot take snapshots of several attached volumes at one instant: detach all of them but one", id, t.name)
	}
	return nil
}

// tagGroup changes the tags of all members of a group.
func (t ThinPool) tagGroup(ctx context.Context, name string, change []string) error {
	only := []string{"--select", `vg_name="` + t.config.VolumeGroup + `" && lv_tags="` + tagGroup + name + `" && lv_name=~"^` + t.memberPattern() + `"`, t.config.VolumeGroup}
	_, err := t.lvm(ctx, slices.Concat([]string{"lvchange"}, change, only)...)
	return err
}

// memberPattern matches the beginning of the names of members of this pool's groups.
func (t ThinPool) memberPattern() string { return `loam[.]` + t.name + `[.]` + forMember + `[.+]` }

// removeGroup removes all that is there of a group.
func (t ThinPool) removeGroup(ctx context.Context, g *group, name string) error {
	for _, l := range g.lvs {
		if in, ok := tagged(l.tags, tagGroup); ok && in == name && t.ours(l) {
			if err := t.remove(ctx, l.name, t.identity(l)); err != nil {
				return err
			}
		}
	}
	return nil
}

// GetGroup reads the snapshots of a group.
func (t ThinPool) GetGroup(ctx context.Context, id volume.ID) ([]volume.Snapshot, error) {
	if !t.owns(id) {
		return nil, t.missing(id)
	}
	all, err := t.ListSnapshots(ctx, "", 0)
	if err != nil {
		return nil, err
	}
	members := slices.DeleteFunc(all, func(s volume.Snapshot) bool { return s.Group != id.Name })
	if len(members) == 0 {
		return nil, t.missing(id)
	}
	return members, nil
}

// DeleteGroup hides all snapshots of a group and then removes them. Where that is cut off, the rest of
// them stays hidden and is removed when the pool is opened or the call repeated.
func (t ThinPool) DeleteGroup(ctx context.Context, id volume.ID) error {
	if !t.owns(id) {
		return nil
	}
	g, err := t.look(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(g.lvs, func(l lv) bool { return l.has(tagGroup+id.Name) && t.ours(l) }) {
		return nil
	}
	if err := t.tagGroup(ctx, id.Name, addTags(tagMaking)); err != nil {
		return t.explain(err, g, 0)
	}
	return t.removeGroup(ctx, g, id.Name)
}
