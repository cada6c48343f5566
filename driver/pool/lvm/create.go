package lvm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/loam-storage/loam/driver/volume"
)

// Create makes the logical volume with all its tags in one command.
func (p *Pool) Create(ctx context.Context, spec volume.Spec) (volume.Volume, error) {
	if !p.owns(spec.ID) {
		return volume.Volume{}, p.missing(spec.ID)
	}
	v, err := p.Get(ctx, spec.ID)
	if err == nil {
		return v, errors.Join(v.Fits(spec), p.flush(p.scanned())) // it may be of a process that was killed before it came to that
	}
	if !volume.Is(err, volume.NotFound) {
		return volume.Volume{}, err
	}
	if spec.Source != nil {
		return p.copy(ctx, spec)
	}
	size, err := spec.PickSize(0, p.unit(), p.unit())
	if err != nil {
		return volume.Volume{}, volume.Errorf(volume.KindOf(err), "volume %q: %w", spec.ID, err)
	}
	g, err := p.stored(ctx)
	if err != nil {
		return volume.Volume{}, err
	}
	at, err := p.place(g, spec, size)
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
	made := lv{name: p.lvName(forVolume, spec.ID.Name), size: size, on: at.on, tags: append(tags, tagVolume+spec.ID.String(), tagFresh)}
	if p.thin() {
		made.tags = append(made.tags, tagReady)
	} else {
		made.tags = append(made.tags, wipedTag(0))
	}
	return p.make(ctx, spec, made, p.lvcreate(made, "n"))
}

// lvcreate returns the command that makes an empty logical volume, and activates it or not. Nothing of it
// is zeroed or looked at. Only who says that it ignores the skip activates it later, so nothing does when the
// machine starts (--setautoactivation is not there for RAID and thin ones).
func (p *Pool) lvcreate(l lv, activate string) []string {
	args := []string{"lvcreate", "--yes", "--activate", activate, "--ignoreactivationskip", "--setactivationskip", "y", "--name", l.name}
	size := fmt.Sprintf("%db", l.size)
	if p.thin() {
		args = append(args, "--virtualsize", size, "--thinpool", p.config.ThinPool)
	} else {
		args = append(args, "--zero", "n", "--wipesignatures", "n", "--size", size)
		args = append(args, p.shape.args...)
	}
	return slices.Concat(args, addTags(l.tags...), []string{p.config.VolumeGroup}, l.on)
}

// make runs the command that makes a volume. Where it fails, the volume may be there nevertheless: made
// by a call that was cut off, or by this one.
func (p *Pool) make(ctx context.Context, spec volume.Spec, made lv, command []string) (volume.Volume, error) {
	cost := p.cost(made.size)
	err := p.take(ctx, cost, func() error {
		_, err := p.lvm(ctx, command...)
		return err
	})
	if err != nil {
		return p.made(ctx, spec, cost, err)
	}
	return p.volume(made)
}

// made says what is there after a command failed that was to make a volume.
func (p *Pool) made(ctx context.Context, spec volume.Spec, cost int64, failed error) (volume.Volume, error) {
	g, err := p.look(ctx)
	if err != nil {
		return volume.Volume{}, unread(failed, err)
	}
	name := p.lvName(forVolume, spec.ID.Name)
	l, ours, err := p.volumeIn(g, spec.ID)
	_, there := g.find(name)
	switch {
	case err != nil:
		return volume.Volume{}, err
	case !there:
		return volume.Volume{}, p.explain(failed, g, cost)
	case !ours:
		return volume.Volume{}, volume.Errorf(volume.Exists, "volume %q: there is a logical volume %q in volume group %q already, and it is not of this pool and node: rename that one", spec.ID, name, g.name)
	case p.halfMade(g, l):
		return volume.Volume{}, errors.Join(p.explain(failed, g, cost), p.remove(ctx, name, tagVolume+spec.ID.String()))
	}
	v, err := p.volume(l)
	if err != nil {
		return v, err
	}
	return v, errors.Join(v.Fits(spec), p.flush(p.scanned()))
}
