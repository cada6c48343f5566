package lvm

import (
	"context"
	"errors"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

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
