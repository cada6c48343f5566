package lvm

import (
	"context"
	"errors"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// copyBlocks makes a thick volume of the blocks of a snapshot or another volume. It counts as half made
// until they are on the disk. What it is larger is wiped when it is attached, as always.
func (p *Pool) copyBlocks(ctx context.Context, spec volume.Spec) (volume.Volume, error) {
	from, made, filled, err := p.planCopy(ctx, spec)
	if err != nil {
		return volume.Volume{}, err
	}
	identity, cost := tagVolume+spec.ID.String(), p.layout.cost(made.Size)
	half := made
	half.Tags = append(slices.Clone(made.Tags), tagMaking)
	made.Tags = append(slices.Clone(made.Tags), filled...)
	err = p.take(ctx, cost, func() error {
		return p.vg.Change(ctx, p.lvcreate(half, "n"))
	})
	if err != nil {
		return p.made(ctx, spec, cost, err)
	}
	if err := p.fill(ctx, from, half.LV); err != nil {
		err = volume.Errorf(volume.KindOf(err), "volume %q from %s: %w", spec.ID, spec.Source, err)
		return volume.Volume{}, errors.Join(err, p.remove(context.WithoutCancel(ctx), made.Name, identity))
	}
	if err := p.vg.Change(ctx, vg.Tag(vg.Only(made.Name, identity), filled, []string{tagMaking})); err != nil {
		return p.made(ctx, spec, 0, err)
	}
	return p.volume(made.LV)
}

// copySource is what blocks are copied from: a volume, or a snapshot of it.
type copySource struct {
	vg.LV
	volume vg.LV
}

// planCopy finds the source, and describes the volume and the tags that say then up to where it is filled.
func (p *Pool) planCopy(ctx context.Context, spec volume.Spec) (from copySource, made newLV, filled []string, err error) {
	r, err := p.vg.Report(ctx)
	if err != nil {
		return from, made, nil, err
	}
	g := &r.Layout
	if from.LV, err = p.sourceIn(g, *spec.Source); err != nil {
		return from, made, nil, err
	}
	if from.volume = from.LV; from.IsCOW() { // that with a cache has an origin, too
		from.volume, _ = g.Find(from.Origin)
	}
	if err := p.grownByOthers(spec.Source.ID, from.LV); err != nil {
		return from, made, nil, err
	}
	if r.States[from.Name].Invalid {
		return from, made, nil, p.lost(*spec.Source)
	}
	size, err := spec.PickSize(from.Size, p.layout.unit(), p.layout.unit())
	if err != nil {
		return from, made, nil, volume.Errorf(volume.KindOf(err), "volume %q: %w", spec.ID, err)
	}
	if spec.Source.Kind == volume.FromVolume {
		if err := p.makeReady(ctx, spec.Source.ID, from.LV); err != nil {
			return from, made, nil, err
		}
	}
	at, err := p.placeCopy(g, spec, from.LV, size)
	if err != nil {
		return from, made, nil, err
	}
	tags, err := copyTags(at.apply(spec), from.LV)
	filled = []string{tagReady}
	if size > from.Size && p.layout.wipes() {
		filled[0] = wipedTag(from.Size)
	}
	if p.layout.wipes() {
		filled = append(filled, readyToTag(size))
	}
	return from, newLV{vg.LV{Name: p.lvName(forVolume, spec.ID.Name), Size: size, Tags: tags}, at.on}, filled, err
}

func (p *account) lost(s volume.Source) error {
	return volume.Errorf(volume.Internal, "pool %q: %s has lost what it had to keep of its volume, so nothing can be restored from it: delete it", p.name, s)
}

// fill copies the blocks. Of a volume that is attached it copies a snapshot, so that they are of one instant.
func (p *Pool) fill(ctx context.Context, from copySource, to vg.LV) (err error) {
	text, _ := tagged(to.Tags, tagVolume)
	attached, release, err := p.holdDevices(ctx, from.volume)
	if err != nil {
		return err
	}
	// What ends the copy must not leave devices behind.
	end := context.WithoutCancel(ctx)
	defer func() {
		if err := release(end); err != nil { // the copy is whole for all that, and an attach tries it again
			klog.FromContext(ctx).Error(err, "the device of a volume that was copied from stays", "pool", p.name, "volume", from.volume.Name)
		}
	}()
	source := from.LV
	if attached && from.Name == from.volume.Name {
		id, err := volume.ParseID(text)
		if err != nil {
			return err
		}
		source = vg.LV{Name: p.lvName(forSpare, id.Name), Size: from.Size, Origin: from.Name, Tags: []string{tagSpare + text, tagMaking}}
		defer func() { err = errors.Join(err, p.remove(end, source.Name, p.identity(source))) }()
		cost := p.layout.snapshotCost(source.Size)
		if err := p.take(ctx, cost, func() error { return p.lvsnapshot(ctx, source.Origin, source, false) }); err != nil {
			return p.why(ctx, err, cost)
		}
	}
	device, err := p.activate(ctx, to.Name, false, tagVolume+text, tagMaking)
	if err != nil {
		return p.why(ctx, err, 0)
	}
	defer func() { err = errors.Join(err, p.deactivate(end, to.Name, tagVolume+text)) }()
	d, active, err := p.vg.Device(source.Name)
	switch {
	case err != nil:
		return err
	case !active || device == "":
		return volume.Errorf(volume.Internal, "pool %q: the device of logical volume %q or %q did not appear", p.name, source.Name, to.Name)
	}
	return p.copyDevice(ctx, device, d.Device, source)
}

// logEvery is how often a copy says in the log how far it is.
const logEvery = 30 * time.Second

func (p *Pool) copyDevice(ctx context.Context, to, from string, source vg.LV) error {
	started := time.Now()
	said := started
	err := host.CopyDevice(ctx, to, from, source.Size, func(done volume.Size) {
		if time.Since(said) >= logEvery {
			said = time.Now()
			klog.FromContext(ctx).Info("copying blocks", "pool", p.name, "from", source.Name, "done", done, "of", source.Size, "took", said.Sub(started))
		}
	})
	if err == nil || !source.IsCOW() {
		return err
	}
	if r, lookErr := p.vg.Report(ctx); lookErr == nil {
		if r.States[source.Name].Invalid {
			return errors.Join(volume.Errorf(volume.Internal, "snapshot %q has lost what it had to keep of its volume, so nothing can be restored from it: delete it", source.Name), err)
		}
	}
	return err
}
