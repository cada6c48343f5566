package lvm

import (
	"context"
	"errors"
	"slices"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// Delete removes the logical volume, and has the disks discard its blocks. One that is active and that nobody uses was perhaps never
// attached: LVM activates what pvmove has moved. LVM itself deactivates it then, or refuses where it is open after all.
func (p *Pool) Delete(ctx context.Context, id volume.ID) error {
	if !p.owns(id) {
		return nil
	}
	g, err := p.vg.Layout(ctx)
	if err != nil {
		return err
	}
	l, there, err := p.volumeIn(g, id)
	if err != nil {
		return err
	}
	if !there {
		return p.gone(ctx, g, p.lvName(forVolume, id.Name))
	}
	if err := p.intact(g, l); err != nil {
		return err
	}
	d, active, err := p.vg.Device(l.Name)
	if err != nil {
		return err
	}
	if active && handedOut(l) {
		if l.UUID != "" && d.UUID != l.UUID {
			return volume.Errorf(volume.InUse, "volume %q: %s has the name of its device and is none of logical volume %s: dmsetup remove it", id, d.Device, l.Name)
		}
		if elsewhere, err := p.machine.Elsewhere(d.Device); err == nil && elsewhere.FSType != "" {
			return volume.Errorf(volume.InUse, "volume %q, device %s, is %s: it can be deleted when that has ended", id, d.Device, elsewhere)
		}
		if err := p.machine.NotHeld(d.Device, id.String()); err != nil {
			return volume.Errorf(volume.KindOf(err), "volume %q is attached as %s: detach it first (%w)", id, d.Device, err)
		}
	}
	return p.removeVolume(ctx, id, l)
}

// gone says whether what is not in the metadata is removed for good: its device is not there either, and no thin pool waits
// to be told of it.
func (p *lvs) gone(ctx context.Context, g *vg.Layout, names ...string) error {
	for _, name := range names {
		if _, foreign := g.Find(name); foreign {
			continue
		}
		d, active, err := p.vg.Device(name)
		if err != nil {
			return err
		}
		if active {
			return volume.Errorf(volume.InUse, "pool %q: logical volume %q is not in the metadata of volume group %q, and its device %s is there: vgcfgrestore the metadata that have it, or, where nothing uses it, dmsetup remove %s", p.name, name, g.Name, d.Device, p.vg.Mapped(name))
		}
	}
	if p.vg.Thin() == nil {
		return nil
	}
	if t, _ := g.Find(p.config.ThinPool); t.Messages > 0 {
		if err := p.wake(ctx); err != nil {
			return err
		}
	}
	return p.settled(ctx)
}

// removeVolume is remove, but not of a volume that has copy-on-write snapshots, or that thin volumes of another pool have as their external origin:
// LVM would remove those with it. Copy-on-write snapshots of a thin volume are an administrator's, and lv_attr does not show them.
func (p *Pool) removeVolume(ctx context.Context, id volume.ID, l vg.LV) error {
	g, err := p.vg.Layout(ctx)
	if err != nil {
		return err
	}
	if l.Merging {
		return p.merging(l.Name)
	}
	if slices.ContainsFunc(g.LVs, func(s vg.LV) bool { return s.RestsOn(l) }) {
		return p.hasSnapshots(g, id, "deleted")
	}
	only := vg.Only(l.Name, tagVolume+id.String())
	only.Is = p.layout.removable() // a snapshot may have been taken since
	return p.lvremove(ctx, l.Name, tagVolume+id.String(), only)
}

// remove removes the logical volume of that name if it has the tag. Nil where there is none; InUse while
// it is open.
func (p *lvs) remove(ctx context.Context, name, identity string) error {
	return p.lvremove(ctx, name, identity, vg.Only(name, identity))
}

// lvremove removes the logical volume that is selected. Where the command fails, the call does, also where the logical
// volume is gone: LVM takes it from its metadata before it has a thin pool give back its blocks.
func (p *lvs) lvremove(ctx context.Context, name, identity string, only vg.Select) error {
	readOnly, err := p.keepReadOnlyAll(ctx) // the volume of a snapshot is loaded anew
	if err != nil {
		return err
	}
	c := vg.Remove(only)
	c.Settings = readOnly
	failed := p.vg.Change(ctx, c.Discard())
	if failed == nil {
		return p.removed(ctx, name, identity)
	}
	if !vg.IsExit(failed) {
		return failed
	}
	r, err := p.vg.Report(ctx)
	if err != nil {
		return unread(failed, err)
	}
	if l, there := r.Find(name); there && l.Has(identity) && r.States[name].Open {
		return volume.Errorf(volume.InUse, "pool %q: logical volume %q is open: end what uses it first", p.name, name)
	}
	return p.explain(failed, r, 0)
}

// removed looks whether a logical volume is gone that a command was to remove: one that selects nothing says nothing.
func (p *lvs) removed(ctx context.Context, name, identity string) error {
	g, err := p.vg.Layout(ctx)
	if err != nil {
		return err
	}
	l, there := g.Find(name)
	switch {
	case !there || !l.Has(identity):
		return nil
	case l.HasSnapshots:
		return volume.Errorf(volume.InUse, "pool %q: a snapshot of logical volume %q was taken meanwhile: ask again", p.name, name)
	}
	return volume.Errorf(volume.Internal, "pool %q: lvremove ended well, and logical volume %q is there: see lvs %s/%[2]s", p.name, name, g.Name)
}

// removeKept is remove of what is not discarded, since its blocks are used at once.
func (p *lvs) removeKept(ctx context.Context, name, identity string) error {
	if err := p.vg.Change(ctx, vg.Remove(vg.Only(name, identity))); err != nil {
		return err
	}
	return p.removed(ctx, name, identity)
}

// keepReadOnlyAll is keepReadOnly of all that is in the pool.
func (p *lvs) keepReadOnlyAll(ctx context.Context) (string, error) {
	g, err := p.vg.Layout(ctx)
	if err != nil {
		return "", err
	}
	var ours []string
	for _, l := range g.LVs {
		if p.ours(l) {
			ours = append(ours, l.Name)
		}
	}
	return p.layout.keepReadOnly(ours...)
}

// wake activates the thin pool where it is not active. A pool that is only inspected changes nothing.
func (p *account) wake(ctx context.Context) error {
	if p.vg.Thin() == nil || p.lock == nil {
		return nil
	}
	return p.vg.Thin().Wake(ctx)
}

// settled sees to it that the thin pool has done all that LVM's metadata say: a command that was killed may have changed
// those, and not the pool yet. The kind of its error is Unavailable.
func (p *lvs) settled(ctx context.Context) error {
	thin := p.vg.Thin()
	if err := thin.Disagreement(ctx); err != nil {
		return err
	}
	is, err := thin.Times(ctx)
	if err != nil || !is.Pending {
		return err
	}
	// LVM tells an active pool nothing until it makes or removes a volume in it (lvm2 2.03.16).
	id := volume.ID{Node: p.node, Pool: p.name, Name: "settle"}
	spare := newLV{LV: vg.LV{Name: p.lvName(forSpare, id.Name), Size: p.layout.unit(), Tags: []string{tagSpare + id.String(), tagMaking}}}
	failed := p.vg.Change(ctx, p.lvcreate(spare, "n"))
	failed = errors.Join(failed, p.remove(ctx, spare.Name, p.identity(spare.LV)))
	if is, err = thin.Times(ctx); err != nil || is.Agree {
		return errors.Join(err, failed)
	}
	where := p.config.VolumeGroup + "/" + p.config.ThinPool
	err = volume.Errorf(volume.Unavailable, "pool %q: LVM has removed or made a volume in its metadata, and thin pool %q has not done so: with its volumes detached, lvchange --activate n %s, and lvchange --activate y %[3]s", p.name, p.config.ThinPool, where)
	return errors.Join(err, failed)
}
