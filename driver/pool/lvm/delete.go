package lvm

import (
	"context"

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
	return p.remove(ctx, name, tagVolume+id.String())
}

// remove removes the logical volume of that name if it has the tag. Nil where there is none; InUse while
// it is open.
func (p *Pool) remove(ctx context.Context, name, identity string) error {
	_, err := p.lvmWith(ctx, discard, append([]string{"lvremove", "--force"}, p.only(name, identity)...)...)
	if err == nil {
		p.forget(name)
		return nil
	}
	g, lookErr := p.look(ctx)
	if lookErr != nil {
		return p.explain(err, nil, 0)
	}
	l, there := g.find(name)
	switch {
	case !there || !l.has(identity):
		return nil
	case l.is(attrOpen, 'o'):
		return volume.Errorf(volume.InUse, "pool %q: logical volume %q is open: end what uses it first", p.name, name)
	default:
		return p.explain(err, g, 0)
	}
}

// removeKept is remove of what is not discarded, since its blocks are used at once.
func (p *Pool) removeKept(ctx context.Context, name, identity string) error {
	_, err := p.lvm(ctx, append([]string{"lvremove", "--force"}, p.only(name, identity)...)...)
	return err
}
