package lvm

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// Attach activates the logical volume. One of which not every block was written by its user or wiped is
// wiped first; the tag that says so is what the command selects it by.
func (p *Pool) Attach(ctx context.Context, id volume.ID, readOnly bool) (string, error) {
	if !p.owns(id) {
		return "", p.missing(id)
	}
	name := p.lvName(forVolume, id.Name)
	copied, done, err := p.change(ctx, name)
	if err != nil {
		return "", err
	}
	defer done()
	if copied.onlyCopied() {
		return "", volume.Errorf(volume.Busy, "volume %q is being copied from, and can be attached when that has ended: ask again", id)
	}
	v, l, err := p.find(ctx, id)
	if err == nil && l.has(tagCopying) { // left so by a crash, or by a command that failed
		if err := p.endCopying(ctx, name, tagVolume+id.String()); err != nil {
			return "", err
		}
		v, l, err = p.find(ctx, id)
	}
	if err == nil {
		err = v.Usable()
	}
	switch {
	case err != nil:
		return "", err
	case !l.has(tagReady):
		if err := p.prepare(ctx, id, l); err != nil {
			return "", err
		}
	case v.Attached() && v.ReadOnly != readOnly:
		return "", volume.Errorf(volume.Exists, "volume %q is attached already with read-only %t, not %t: detach it first", id, v.ReadOnly, readOnly)
	case v.Attached():
		return v.Device, nil
	}
	if !l.has(tagReady) && !readOnly {
		d, _, err := p.device(name)
		return d.Device, err
	}
	if !l.has(tagReady) { // wiped while it could be written to
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
func (p *Pool) activateNow(ctx context.Context, id volume.ID, name string, readOnly bool) (string, error) {
	device, err := p.activate(ctx, name, readOnly, tagVolume+id.String(), tagReady)
	if err == nil && device == "" {
		return "", p.missing(id)
	}
	if err == nil {
		return device, nil
	}
	err = p.why(ctx, err, 0)
	return "", volume.Errorf(volume.KindOf(err), "volume %q: %w", id, err)
}

// activate activates the logical volume of that name if it has the tags, and returns its device, empty
// where there is no such one. Of a thin one, the permission has to be set before.
func (p *Pool) activate(ctx context.Context, name string, readOnly bool, tags ...string) (string, error) {
	further, only := "", p.only(name, tags...)
	switch {
	case p.thin() && readOnly:
		only[1] += ` && lv_attr=~"^.r"`
	case p.thin():
		only[1] += ` && lv_attr=~"^.w"`
	case readOnly:
		further = p.readOnlyList(name)
	}
	if _, err := p.lvmWith(ctx, further, append([]string{"lvchange", "--activate", "y", "--ignoreactivationskip"}, only...)...); err != nil {
		return "", err
	}
	d, _, err := p.device(name)
	return d.Device, err
}

// permit sets the permission of a thin volume that is not active, where it is not what it is to be. The
// setting that makes only the activation read-only would do that to the thin pool, too. So it is in the
// metadata, and every attach sets it anew.
func (p *Pool) permit(ctx context.Context, id volume.ID, l lv, readOnly bool) error {
	if !p.thin() || l.is(attrPermission, 'r') == readOnly {
		return nil
	}
	permission := "rw"
	if readOnly {
		permission = "r"
	}
	args := append([]string{"lvchange", "--permission", permission}, p.only(l.name, tagVolume+id.String())...)
	if _, err := p.lvm(ctx, args...); err != nil {
		return p.why(ctx, err, 0)
	}
	return nil
}

// prepare wipes what of a volume its user has not had yet, and leaves it active and ready. The tag comes
// last: when that is cut off, all is wiped again.
func (p *Pool) prepare(ctx context.Context, id volume.ID, l lv) error {
	identity := tagVolume + id.String()
	from, err := wipedOf(l)
	if err != nil {
		return volume.Errorf(volume.Internal, "volume %q: %w", id, err)
	}
	device, err := p.activate(ctx, l.name, false, identity)
	if err != nil {
		return p.why(ctx, err, 0)
	}
	if device == "" {
		return p.missing(id)
	}
	if err := p.wipe(device, from, l.size); err != nil {
		return errors.Join(volume.Errorf(volume.KindOf(err), "volume %q: %w", id, err), p.deactivate(ctx, l.name, identity))
	}
	args := slices.Concat([]string{"lvchange"}, addTags(tagReady), delTags(wipedTag(from)), p.only(l.name, identity))
	if _, err := p.lvm(ctx, args...); err != nil {
		return errors.Join(p.why(ctx, err, 0), p.deactivate(ctx, l.name, identity))
	}
	return nil
}

// makeReady wipes what of a detached volume its user has not had yet, for it is to be copied.
func (p *Pool) makeReady(ctx context.Context, id volume.ID, l lv) error {
	if l.has(tagReady) {
		return nil
	}
	_, done, err := p.change(ctx, l.name)
	if err != nil {
		return err
	}
	defer done()
	if _, l, err = p.find(ctx, id); err != nil || l.has(tagReady) {
		return err // another copy may have seen to it
	}
	if err := p.prepare(ctx, id, l); err != nil {
		return err
	}
	return p.deactivate(ctx, l.name, tagVolume+id.String())
}

// endsBytes is how much of both ends of a volume is made zeros that is not wiped: a file system that somebody else had
// there must not be taken for one of this volume.
const endsBytes = 2 * volume.MiB

// wipe makes blocks read as zeros in the way that is configured.
func (p *Pool) wipe(device string, from, to volume.Size) error {
	switch p.config.Wipe {
	case WipeNone:
		first := min(from+endsBytes, to)
		return errors.Join(host.Wipe(device, from, first, host.WipeZero), host.Wipe(device, max(first, to-endsBytes), to, host.WipeZero))
	case WipeZero:
		return host.Wipe(device, from, to, host.WipeZero)
	case WipeDiscard:
		return host.Wipe(device, from, to, host.WipeDiscard)
	default:
		return host.Wipe(device, from, to, host.WipeCheapest)
	}
}

func wipedTag(bytes volume.Size) string { return tagWiped + strconv.FormatInt(int64(bytes), 10) }

// wipedOf returns up to where a logical volume that is not ready holds its user's bytes or zeros. A lost
// tag is an error, and never a reason to wipe what may be data.
func wipedOf(l lv) (volume.Size, error) {
	text, _ := tagged(l.tags, tagWiped)
	bytes, err := strconv.ParseInt(text, 10, 64)
	if err != nil || bytes < 0 || volume.Size(bytes) > l.size {
		return 0, volume.Errorf(volume.Internal, "tag \"%s%.32s\" does not say how much of logical volume %q is wiped", tagWiped, text, l.name)
	}
	return volume.Size(bytes), nil
}

// Detach deactivates the logical volume.
func (p *Pool) Detach(ctx context.Context, id volume.ID) error {
	if !p.owns(id) {
		return nil
	}
	name := p.lvName(forVolume, id.Name)
	copied, done, err := p.change(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	if copied.onlyCopied() {
		return nil
	}
	d, active, err := p.device(name)
	if err != nil || !active {
		return err
	}
	if copied.copies > 0 {
		return volume.Errorf(volume.Busy, "volume %q is being copied from, and can be detached when that has ended: ask again", id)
	}
	if err := p.machine.NotHeld(d.Device, id.String()); err != nil {
		return volume.Errorf(volume.KindOf(err), "volume %q: %w", id, err)
	}
	return p.deactivate(ctx, name, tagVolume+id.String())
}

// deactivate deactivates the logical volume of that name if it has the tag. InUse while it is open.
func (p *Pool) deactivate(ctx context.Context, name, identity string) error {
	args := append([]string{"lvchange", "--activate", "n"}, p.only(name, identity)...)
	_, err := p.lvm(ctx, args...)
	if err == nil || !isExit(err) {
		return err
	}
	g, lookErr := p.look(ctx)
	if lookErr != nil {
		return p.explain(err, nil, 0)
	}
	l, there := g.find(name)
	switch {
	case !there || !l.has(identity) || !l.is(attrState, 'a'):
		return nil
	case l.is(attrOpen, 'o') || slices.ContainsFunc(g.lvs, func(s lv) bool { return s.origin == name && s.isCOW() && s.is(attrOpen, 'o') }):
		return volume.Errorf(volume.InUse, "pool %q: logical volume %q or a snapshot of it is open: end what uses it first", p.name, name)
	default:
		return p.explain(err, g, 0)
	}
}
