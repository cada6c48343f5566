package lvm

import (
	"cmp"
	"context"
	"errors"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// Create makes the logical volume with all its tags in one command.
func (p *Pool) Create(ctx context.Context, spec volume.Spec) (volume.Volume, error) {
	if !p.owns(spec.ID) {
		return volume.Volume{}, p.missing(spec.ID)
	}
	v, err := p.Get(ctx, spec.ID)
	if err == nil {
		return v, errors.Join(v.Fits(spec), p.vg.Flush()) // it may be of a process that was killed before it came to that
	}
	if !volume.Is(err, volume.NotFound) {
		return volume.Volume{}, err
	}
	if spec.Source != nil {
		return p.copy(ctx, spec)
	}
	size, err := spec.PickSize(0, p.layout.unit(), p.layout.unit())
	if err != nil {
		return volume.Volume{}, volume.Errorf(volume.KindOf(err), "volume %q: %w", spec.ID, err)
	}
	g, err := p.vg.Layout(ctx)
	if err != nil {
		return volume.Volume{}, err
	}
	at, err := p.layout.place(g, spec, size)
	if err != nil {
		return volume.Volume{}, err
	}
	if err := p.machine.TrySpec(ctx, spec, size, cmp.Or(at.block, volume.DefaultBlockBytes)); err != nil {
		return volume.Volume{}, err
	}
	tags, err := recordTags(at.apply(spec).Record())
	if err != nil {
		return volume.Volume{}, err
	}
	made := newLV{vg.LV{Name: p.lvName(forVolume, spec.ID.Name), Size: size, Tags: append(tags, tagVolume+spec.ID.String(), tagFresh, p.layout.created())}, at.on}
	return p.make(ctx, spec, made, p.lvcreate(made, "n"))
}

// newLV is a logical volume that is to be made.
type newLV struct {
	vg.LV
	on []string // the disks that it may lie on; none: any
}

// lvcreate returns the command that makes an empty logical volume, and activates it or not. Nothing of it
// is zeroed or looked at. Only who says that it ignores the skip activates it later, so nothing does when the
// machine starts (--setautoactivation is not there for RAID and thin ones).
func (p *lvs) lvcreate(l newLV, activate string) vg.Command {
	c := p.creates(l.LV, "--activate", activate, "--ignoreactivationskip")
	c.Flags = append(c.Flags, p.layout.createFlags(l.Size)...)
	c.On = l.on
	return c
}

// creates begins the command that makes a logical volume of ours.
func (p *lvs) creates(l vg.LV, flags ...string) vg.Command {
	flags = append(flags, "--yes", "--setactivationskip", "y", "--name", l.Name)
	for _, tag := range l.Tags {
		flags = append(flags, "--addtag", tag)
	}
	return vg.Command{Name: "lvcreate", Flags: flags, Makes: vg.Only(l.Name, p.identity(l))}
}

// make runs the command that makes a volume. Where it fails, the volume may be there nevertheless: made
// by a call that was cut off, or by this one.
func (p *Pool) make(ctx context.Context, spec volume.Spec, made newLV, command vg.Command) (volume.Volume, error) {
	cost := p.layout.cost(made.Size)
	err := p.take(ctx, cost, func() error {
		return p.vg.Change(ctx, command)
	})
	if err != nil {
		return p.made(ctx, spec, cost, err)
	}
	return p.volume(made.LV)
}

// made says what is there after a command failed that was to make a volume.
func (p *Pool) made(ctx context.Context, spec volume.Spec, cost int64, failed error) (volume.Volume, error) {
	r, err := p.vg.Report(ctx)
	if err != nil {
		return volume.Volume{}, unread(failed, err)
	}
	g := &r.Layout
	name := p.lvName(forVolume, spec.ID.Name)
	l, ours, err := p.volumeIn(g, spec.ID)
	_, there := g.Find(name)
	switch {
	case err != nil:
		return volume.Volume{}, err
	case !there:
		return volume.Volume{}, p.explain(failed, r, cost)
	case !ours:
		return volume.Volume{}, volume.Errorf(volume.Exists, "volume %q: there is a logical volume %q in volume group %q already, and it is not of this pool and node: rename that one", spec.ID, name, g.Name)
	case p.halfMade(g, l):
		return volume.Volume{}, errors.Join(p.explain(failed, r, cost), p.remove(ctx, name, tagVolume+spec.ID.String()))
	}
	v, err := p.volume(l)
	if err != nil {
		return v, err
	}
	return v, errors.Join(v.Fits(spec), p.vg.Flush())
}
