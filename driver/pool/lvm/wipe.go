package lvm

import (
	"context"
	"errors"
	"strconv"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// prepare wipes the part of a volume that its user has never been able to read, and leaves it active and ready. LVM itself
// has to see the tags that allow it. The tag that says it is done comes last: when that is cut off, all is wiped again.
func (p *Pool) prepare(ctx context.Context, id volume.ID, l vg.LV) error {
	identity := tagVolume + id.String()
	if err := p.layout.writable(id, l); err != nil {
		return err
	}
	from, err := wipedOf(l)
	if err != nil {
		return volume.Errorf(volume.Internal, "volume %q: %w", id, err)
	}
	device, err := p.activateUnready(ctx, l, vg.Only(l.Name, identity, wipedTag(from)))
	if err != nil {
		return volume.Errorf(volume.KindOf(err), "volume %q: %w", id, err)
	}
	if err := p.wipe(ctx, device, from, l.Size); err != nil {
		return errors.Join(volume.Errorf(volume.KindOf(err), "volume %q: %w", id, err), p.deactivate(ctx, l.Name, identity))
	}
	done, to := []string{tagReady}, []string{wipedTag(from)}
	if before, ok := tagged(l.Tags, tagReadyTo); ok && tagReadyTo+before != readyToTag(l.Size) {
		to = append(to, tagReadyTo+before)
	}
	if p.layout.wipes() {
		done = append(done, readyToTag(l.Size))
	}
	if err := p.vg.Change(ctx, vg.Tag(vg.Only(l.Name, identity, wipedTag(from)), done, to)); err != nil {
		return errors.Join(p.why(ctx, err, 0), p.deactivate(ctx, l.Name, identity))
	}
	return nil
}

// activateUnready activates a logical volume that is not ready, and returns its device. The command selects it by what
// it is wiped for, so that its device appears only where LVM sees that, too; where it is there already, LVM is asked.
func (p *lvs) activateUnready(ctx context.Context, l vg.LV, only vg.Select) (string, error) {
	only.Not = tagReady
	d, active, err := p.vg.Device(l.Name)
	if err != nil {
		return "", err
	}
	if active { // left so by a crash
		return d.Device, p.why(ctx, p.vg.Confirm(ctx, l.Name, only), 0)
	}
	if err := p.vg.Change(ctx, vg.Activate(only, false)); err != nil {
		return "", p.why(ctx, err, 0)
	}
	d, active, err = p.vg.Device(l.Name)
	if err == nil && !active {
		err = p.vg.Unconfirmed(l.Name)
	}
	return d.Device, err
}

// makeReady wipes what of a detached volume its user has not had yet, for it is to be copied.
func (p *Pool) makeReady(ctx context.Context, id volume.ID, l vg.LV) error {
	if l.Has(tagReady) {
		return nil
	}
	_, done, err := p.change(ctx, l.Name)
	if err != nil {
		return err
	}
	defer done()
	if _, l, err = p.find(ctx, id); err != nil || l.Has(tagReady) {
		return err // another copy may have seen to it
	}
	if err := p.prepare(ctx, id, l); err != nil {
		return err
	}
	return p.deactivate(ctx, l.Name, tagVolume+id.String())
}

// endsBytes is how much of both ends of a volume is made zeros that is not wiped: a file system that somebody else had
// there must not be taken for one of this volume.
const endsBytes = 2 * volume.MiB

// wipe makes blocks read as zeros in the way that is configured.
func (p *lvs) wipe(ctx context.Context, device string, from, to volume.Size) error {
	switch p.config.Wipe {
	case WipeNone:
		first := min(from+endsBytes, to)
		return errors.Join(host.Wipe(ctx, device, from, first, host.WipeZero), host.Wipe(ctx, device, max(first, to-endsBytes), to, host.WipeZero))
	case WipeZero:
		return host.Wipe(ctx, device, from, to, host.WipeZero)
	case WipeDiscard:
		return host.Wipe(ctx, device, from, to, host.WipeDiscard)
	default:
		return host.Wipe(ctx, device, from, to, host.WipeCheapest)
	}
}

func wipedTag(bytes volume.Size) string { return tagWiped + byteText(bytes) }

// wipedOf returns up to where a logical volume that is not ready holds its user's bytes or zeros. A lost
// tag is an error, and never a reason to wipe what may be data.
func wipedOf(l vg.LV) (volume.Size, error) {
	text, _ := tagged(l.Tags, tagWiped)
	bytes, err := strconv.ParseInt(text, 10, 64)
	if err != nil || bytes < 0 || volume.Size(bytes) > l.Size {
		return 0, volume.Errorf(volume.Internal, "tag \"%s%.32s\" does not say how much of logical volume %q is wiped", tagWiped, text, l.Name)
	}
	return volume.Size(bytes), nil
}
