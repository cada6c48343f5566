package lvm

import (
	"context"
	"errors"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// copyBlocks makes a thick volume of the blocks of a snapshot or another volume. It counts as half made
// until they are on the disk. What it is larger is wiped when it is attached, as always.
func (p *Pool) copyBlocks(ctx context.Context, spec volume.Spec) (volume.Volume, error) {
	from, made, filled, err := p.planCopy(ctx, spec)
	if err != nil {
		return volume.Volume{}, err
	}
	identity, cost := tagVolume+spec.ID.String(), p.cost(made.size)
	half := made
	half.tags = append(slices.Clone(made.tags), tagMaking)
	made.tags = append(slices.Clone(made.tags), filled...)
	err = p.take(ctx, cost, func() error {
		_, err := p.lvm(ctx, p.lvcreate(half, "n")...)
		return err
	})
	if err != nil {
		return p.made(ctx, spec, cost, err)
	}
	if err := p.fill(ctx, from, half); err != nil {
		err = volume.Errorf(volume.KindOf(err), "volume %q from %s: %w", spec.ID, spec.Source, err)
		return volume.Volume{}, errors.Join(err, p.remove(context.WithoutCancel(ctx), made.name, identity))
	}
	change := slices.Concat([]string{"lvchange"}, addTags(filled...), delTags(tagMaking), p.only(made.name, identity))
	if _, err := p.lvm(ctx, change...); err != nil {
		return p.made(ctx, spec, 0, err)
	}
	return p.volume(made)
}

// copySource is what blocks are copied from: a volume, or a snapshot of it.
type copySource struct {
	lv
	volume lv
}

// planCopy finds the source, and describes the volume and the tags that say then up to where it is filled.
func (p *Pool) planCopy(ctx context.Context, spec volume.Spec) (from copySource, made lv, filled []string, err error) {
	g, err := p.look(ctx)
	if err != nil {
		return from, made, nil, err
	}
	if from.lv, err = p.sourceIn(g, *spec.Source); err != nil {
		return from, made, nil, err
	}
	if from.volume = from.lv; from.isCOW() { // that with a cache has an origin, too
		from.volume, _ = g.find(from.origin)
	}
	if err := p.grownByOthers(spec.Source.ID, from.lv); err != nil {
		return from, made, nil, err
	}
	if from.invalid() {
		return from, made, nil, p.lost(*spec.Source)
	}
	size, err := spec.PickSize(from.size, p.unit(), p.unit())
	if err != nil {
		return from, made, nil, volume.Errorf(volume.KindOf(err), "volume %q: %w", spec.ID, err)
	}
	if spec.Source.Kind == volume.FromVolume {
		if err := p.makeReady(ctx, spec.Source.ID, from.lv); err != nil {
			return from, made, nil, err
		}
	}
	at, err := p.placeCopy(g, spec, from.lv, size)
	if err != nil {
		return from, made, nil, err
	}
	tags, err := copyTags(at.apply(spec), from.lv)
	filled = []string{tagReady}
	if size > from.size && p.wipes() {
		filled[0] = wipedTag(from.size)
	}
	if p.wipes() {
		filled = append(filled, readyToTag(size))
	}
	return from, lv{name: p.lvName(forVolume, spec.ID.Name), size: size, on: at.on, tags: tags}, filled, err
}

func (p *Pool) lost(s volume.Source) error {
	return volume.Errorf(volume.Internal, "pool %q: %s has lost what it had to keep of its volume, so nothing can be restored from it: delete it", p.name, s)
}

// fill copies the blocks. Of a volume that is attached it copies a snapshot, so that they are of one instant.
func (p *Pool) fill(ctx context.Context, from copySource, to lv) (err error) {
	text, _ := tagged(to.tags, tagVolume)
	attached, release, err := p.holdDevices(ctx, from.volume)
	if err != nil {
		return err
	}
	// What ends the copy must not leave devices behind.
	end := context.WithoutCancel(ctx)
	defer func() {
		if err := release(end); err != nil { // the copy is whole for all that, and an attach tries it again
			klog.FromContext(ctx).Error(err, "the device of a volume that was copied from stays", "pool", p.name, "volume", from.volume.name)
		}
	}()
	source := from.lv
	if attached && from.name == from.volume.name {
		id, err := volume.ParseID(text)
		if err != nil {
			return err
		}
		source = lv{name: p.lvName(forSpare, id.Name), size: from.size, origin: from.name, tags: []string{tagSpare + text, tagMaking}}
		defer func() { err = errors.Join(err, p.remove(end, source.name, source.tags[0])) }()
		cost := p.snapshotCost(source.size)
		if err := p.take(ctx, cost, func() error { return p.lvsnapshot(ctx, source.origin, source, false) }); err != nil {
			return p.why(ctx, err, cost)
		}
	}
	device, err := p.activate(ctx, to.name, false, tagVolume+text, tagMaking)
	if err != nil {
		return p.why(ctx, err, 0)
	}
	defer func() { err = errors.Join(err, p.deactivate(end, to.name, tagVolume+text)) }()
	d, active, err := p.device(source.name)
	switch {
	case err != nil:
		return err
	case !active || device == "":
		return volume.Errorf(volume.Internal, "pool %q: the device of logical volume %q or %q did not appear", p.name, source.name, to.name)
	}
	return p.copyDevice(ctx, device, d.Device, source)
}

// logEvery is how often a copy says in the log how far it is.
const logEvery = 30 * time.Second

func (p *Pool) copyDevice(ctx context.Context, to, from string, source lv) error {
	started := time.Now()
	said := started
	err := host.CopyDevice(ctx, to, from, source.size, func(done volume.Size) {
		if time.Since(said) >= logEvery {
			said = time.Now()
			klog.FromContext(ctx).Info("copying blocks", "pool", p.name, "from", source.name, "done", done, "of", source.size, "took", said.Sub(started))
		}
	})
	if err == nil || !source.isCOW() {
		return err
	}
	if g, lookErr := p.look(ctx); lookErr == nil {
		if l, there := g.find(source.name); there && l.invalid() {
			return errors.Join(volume.Errorf(volume.Internal, "snapshot %q has lost what it had to keep of its volume, so nothing can be restored from it: delete it", source.name), err)
		}
	}
	return err
}
