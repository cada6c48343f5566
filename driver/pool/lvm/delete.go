package lvm

import (
	"context"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/volume"
)

// Delete removes the logical volume, and has the disks discard its blocks.
func (p *Pool) Delete(ctx context.Context, id volume.ID) error {
	if !p.owns(id) {
		return nil
	}
	name := p.lvName(forVolume, id.Name)
	_, active, err := p.device(name)
	if err != nil {
		return err
	}
	if active {
		v, err := p.Get(ctx, id)
		switch {
		case err == nil && v.Attached():
			return volume.Errorf(volume.InUse, "volume %q is attached as %s: detach it first", id, v.Device)
		case err != nil && !volume.Is(err, volume.NotFound):
			return err
		}
	}
	return p.removeVolume(ctx, id, name)
}

// removeVolume is remove, but not of a volume that has copy-on-write snapshots, which LVM would remove with it. Those of a
// thin volume are an administrator's, and lv_attr does not show them.
func (p *Pool) removeVolume(ctx context.Context, id volume.ID, name string) error {
	if p.thin() {
		g, err := p.stored(ctx)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(g.lvs, func(s lv) bool { return s.isCOW() && s.origin == name }) {
			return p.hasSnapshots(g, id, "deleted")
		}
		return p.remove(ctx, name, tagVolume+id.String())
	}
	only := p.only(name, tagVolume+id.String())
	only[1] += ` && lv_attr!~"^[oO]"`
	gone, err := p.lvremove(ctx, name, tagVolume+id.String(), only)
	if err != nil || gone {
		return err
	}
	g, err := p.look(ctx)
	if err != nil {
		return err
	}
	if l, there := g.find(name); there && l.has(tagVolume+id.String()) {
		return p.hasSnapshots(g, id, "deleted")
	}
	return nil
}

// remove removes the logical volume of that name if it has the tag. Nil where there is none; InUse while
// it is open.
func (p *Pool) remove(ctx context.Context, name, identity string) error {
	_, err := p.lvremove(ctx, name, identity, p.only(name, identity))
	return err
}

// lvremove removes the logical volume that is selected, and reports whether there was one.
func (p *Pool) lvremove(ctx context.Context, name, identity string, only []string) (bool, error) {
	readOnly, err := p.keepReadOnlyAll(ctx) // the volume of a snapshot is loaded anew
	if err != nil {
		return false, err
	}
	out, err := p.lvmWith(ctx, strings.TrimSpace(discard+" "+readOnly), append([]string{"lvremove", "--force"}, only...)...)
	if err == nil {
		return did(out), nil
	}
	g, lookErr := p.look(ctx)
	if lookErr != nil {
		return false, p.explain(err, nil, 0)
	}
	l, there := g.find(name)
	switch {
	case !there || !l.has(identity):
		return true, nil
	case l.is(attrOpen, 'o'):
		return false, volume.Errorf(volume.InUse, "pool %q: logical volume %q is open: end what uses it first", p.name, name)
	default:
		return false, p.explain(err, g, 0)
	}
}

// removeKept is remove of what is not discarded, since its blocks are used at once.
func (p *Pool) removeKept(ctx context.Context, name, identity string) error {
	_, err := p.lvmWith(ctx, keep, append([]string{"lvremove", "--force"}, p.only(name, identity)...)...)
	return err
}
