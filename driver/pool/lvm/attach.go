package lvm

import (
	"context"
	"slices"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// Attach activates the logical volume. One of which not every block was written by its user or wiped is
// wiped first; the tag that says so is what the command selects it by.
func (p *Pool) Attach(ctx context.Context, id volume.ID, readOnly bool) (string, error) {
	if !p.owns(id) {
		return "", p.missing(id)
	}
	name := p.lvName(forVolume, id.Name)
	of, done, err := p.change(ctx, name)
	if err != nil {
		return "", err
	}
	defer done()
	if of.onlyCopied() {
		return "", volume.Errorf(volume.Busy, "volume %q is being copied from, and can be attached when that has ended: ask again", id)
	}
	v, l, err := p.find(ctx, id)
	if err == nil && l.Has(tagCopying) { // left so by a crash, or by a command that failed
		if err := p.endCopying(ctx, name, tagVolume+id.String()); err != nil {
			return "", err
		}
		v, l, err = p.find(ctx, id)
	}
	if err == nil {
		err = v.Usable()
	}
	if err == nil {
		err = p.fits(ctx, v, l)
	}
	if err == nil {
		err = p.grownByOthers(id, l)
	}
	if err == nil {
		err = p.settleReadyTo(ctx, l)
	}
	if err == nil && !readOnly {
		err = p.layout.writable(id, l)
	}
	if err == nil && v.Attached() {
		err = p.vg.MendSuspended(ctx, name)
	}
	switch {
	case err != nil:
		return "", err
	case !l.Has(tagReady):
		if err := p.prepare(ctx, id, l); err != nil {
			return "", err
		}
	case v.Attached() && v.ReadOnly != readOnly:
		return "", volume.Errorf(volume.Exists, "volume %q is attached already with read-only %t, not %t: detach it first; where LVM has activated it for itself (pvmove) and nothing uses it: lvchange --activate n %s/%s", id, v.ReadOnly, readOnly, p.config.VolumeGroup, name)
	case v.Attached():
		return v.Device, p.machine.KeepMapped(p.vg.Mapped(name))
	}
	if !l.Has(tagReady) && !readOnly {
		d, _, err := p.vg.Device(name)
		return d.Device, err
	}
	if !l.Has(tagReady) { // wiped while it could be written to
		if err := p.deactivate(ctx, name, tagVolume+id.String()); err != nil {
			return "", err
		}
	}
	if err := p.permit(ctx, id, l, readOnly); err != nil {
		return "", err
	}
	return p.activateNow(ctx, id, name, readOnly)
}

// activateNow activates a logical volume that was just seen to be there, and explains if it does not.
func (p *lvs) activateNow(ctx context.Context, id volume.ID, name string, readOnly bool) (string, error) {
	device, err := p.activate(ctx, name, readOnly, tagVolume+id.String(), tagReady)
	if err == nil && device == "" {
		return "", p.missing(id)
	}
	if err == nil {
		return device, nil
	}
	err = p.why(ctx, err, 0)
	if pool := p.wake(ctx); pool != nil { // which is why
		err = pool
	}
	return "", volume.Errorf(volume.KindOf(err), "volume %q: %w", id, err)
}

// activate activates the logical volume of that name if it has the tags, and returns its device, empty
// where there is no such one. Of a thin one, the permission has to be set before.
func (p *lvs) activate(ctx context.Context, name string, readOnly bool, tags ...string) (string, error) {
	c := vg.Activate(vg.Only(name, tags...), p.isMerging(ctx, name))
	p.layout.activate(&c, name, readOnly)
	if err := p.vg.Change(ctx, c); err != nil {
		return "", err
	}
	d, _, err := p.vg.Device(name)
	return d.Device, err
}

// permit sets the permission of a thin volume that is not active, where it is not what it is to be. The
// setting that makes only the activation read-only would do that to the thin pool, too. So it is in the
// metadata, and every attach sets it anew.
func (p *lvs) permit(ctx context.Context, id volume.ID, l vg.LV, readOnly bool) error {
	if !p.layout.permits() || l.Writable != readOnly {
		return nil
	}
	return p.why(ctx, p.vg.Change(ctx, vg.Permit(vg.Only(l.Name, tagVolume+id.String()), !readOnly)), 0)
}

// Detach deactivates the logical volume. One that is mounted in other mount namespaces only is left to the kernel, which removes its
// device when it is not any more, unless it is attached again.
func (p *Pool) Detach(ctx context.Context, id volume.ID) error {
	if !p.owns(id) {
		return nil
	}
	name := p.lvName(forVolume, id.Name)
	of, done, err := p.change(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	if of.onlyCopied() {
		return nil
	}
	name = p.nameNow(ctx, id, name)
	d, active, err := p.vg.Device(name)
	if err != nil || !active {
		return err
	}
	if of.copies > 0 {
		return volume.Errorf(volume.Busy, "volume %q is being copied from, and can be detached when that has ended: ask again", id)
	}
	if later, err := p.machine.RemoveMappedLater(p.vg.Mapped(name), d.Device, id.String()); err != nil {
		return volume.Errorf(volume.KindOf(err), "volume %q: %w", id, err)
	} else if later {
		return nil
	}
	if err := p.machine.NotHeld(d.Device, id.String()); err != nil {
		return volume.Errorf(volume.KindOf(err), "volume %q: %w", id, err)
	}
	identity := tagVolume + id.String()
	if g, err := p.vg.Layout(ctx); err == nil {
		if l, lost := p.anonymousOf(g, id, tagVolume); lost && l.Name == name {
			identity = "" // its name alone says which it is, and that is enough to take a device away that nothing holds
		}
	}
	return p.deactivate(ctx, name, identity)
}

// nameNow returns the name of a volume's logical volume, which somebody may have changed while it is attached: a pod can go
// for all that. Where the group cannot be read it is the one that loam gave it.
func (p *lvs) nameNow(ctx context.Context, id volume.ID, name string) string {
	if g, err := p.vg.Layout(ctx); err == nil {
		if i := slices.IndexFunc(g.LVs, func(l vg.LV) bool { return p.identity(l) == tagVolume+id.String() }); i >= 0 && p.named(g.LVs[i]) != nil {
			if _, own := g.Find(name); !own {
				return g.LVs[i].Name
			}
		}
	}
	return name
}

// deactivate deactivates the logical volume of that name if it has the tag, of whatever tags where that is empty, and looks
// whether its device is gone. InUse while it is open.
func (p *lvs) deactivate(ctx context.Context, name, identity string) error {
	if moved, err := p.removeMoved(ctx, name, identity); moved || err != nil {
		return err
	}
	only := vg.Only(name)
	if identity != "" {
		only.Tags = []string{identity}
	}
	failed := p.vg.Change(ctx, vg.Deactivate(only))
	if failed != nil && !vg.IsExit(failed) {
		return failed
	}
	d, active, err := p.vg.Device(name)
	if err != nil || !active {
		return err
	}
	r, err := p.vg.Report(ctx)
	if err != nil {
		if failed != nil {
			return unread(failed, err)
		}
		return err
	}
	l, there := r.Find(name)
	switch {
	case !there:
		return p.gone(ctx, &r.Layout, name)
	case identity != "" && !l.Has(identity):
		return nil // somebody else's
	case r.Open(name):
		return p.isOpen(name)
	case failed != nil:
		return p.explain(failed, r, 0)
	}
	return volume.Errorf(volume.Internal, "pool %q: lvchange --activate n ended well, and %s, the device of logical volume %q, is there", p.name, d.Device, name)
}
