package lvm

import (
	"context"
	"errors"
	"slices"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// copy makes a volume from a snapshot or another volume: of a thick one by copying its blocks, in a thin pool by
// a snapshot that can be written to, in one command where it is not to be larger.
func (p *Pool) copy(ctx context.Context, spec volume.Spec) (volume.Volume, error) {
	if !p.layout.shares() {
		return p.copyBlocks(ctx, spec)
	}
	g, source, err := p.source(ctx, *spec.Source)
	if err != nil {
		return volume.Volume{}, err
	}
	size, err := spec.PickSize(source.Size, p.layout.unit(), p.layout.unit())
	if err != nil {
		return volume.Volume{}, volume.Errorf(volume.KindOf(err), "volume %q: %w", spec.ID, err)
	}
	at, err := p.placeCopy(g, spec, source, size)
	if err != nil {
		return volume.Volume{}, err
	}
	tags, err := copyTags(at.apply(spec), source)
	if err != nil {
		return volume.Volume{}, err
	}
	made := vg.LV{Name: p.lvName(forVolume, spec.ID.Name), Size: size, Tags: append(tags, tagReady)}
	cost := p.layout.cost(size)
	err = p.take(ctx, cost, func() error {
		if size == source.Size {
			return p.lvsnapshot(ctx, source.Name, made, true)
		}
		return p.copyLarger(ctx, spec.ID, source.Name, made)
	})
	if err == nil {
		return p.volume(made)
	}
	if vg.IsExit(err) { // perhaps because the source is gone
		g, lookErr := vg.LayoutIn(p.vg.Report(ctx))
		if lookErr == nil {
			_, lookErr = p.sourceIn(g, *spec.Source)
		}
		if lookErr != nil {
			return volume.Volume{}, lookErr
		}
	}
	return p.made(ctx, spec, cost, err)
}

// copyTags returns the tags that a copy of a source has in any case.
func copyTags(spec volume.Spec, source vg.LV) ([]string, error) {
	mark := markOf(source)
	if _, isSnapshot := tagged(source.Tags, tagSnapshot); isSnapshot {
		r, err := readRecord(source.Tags)
		if err != nil {
			return nil, volume.Errorf(volume.Internal, "%s: %w", spec.Source, err)
		}
		mark = r.Mark
	}
	tags, err := recordTags(spec.Record())
	tags = append(tags, tagVolume+spec.ID.String())
	if mark.OfCopy() == volume.Block {
		tags = append(tags, tagBlock)
	}
	return tags, err
}

// copyLarger makes a copy that counts as half made until it is as large as it is to be.
func (p *Pool) copyLarger(ctx context.Context, id volume.ID, source string, made vg.LV) error {
	half := made
	half.Tags = append(slices.Clone(made.Tags), tagMaking)
	if err := p.lvsnapshot(ctx, source, half, true); err != nil {
		return err
	}
	err := p.lvextend(ctx, made.Name, made.Size, nil)
	if err == nil {
		err = p.vg.Change(ctx, vg.Tag(vg.Only(made.Name, tagVolume+id.String()), nil, []string{tagMaking}))
	}
	if err != nil && !vg.IsExit(err) {
		return errors.Join(err, p.remove(ctx, made.Name, tagVolume+id.String()))
	}
	return err // half made: that is seen to where it is looked at
}

// source finds what to copy, in the group that it returns too.
func (p *Pool) source(ctx context.Context, s volume.Source) (*vg.Layout, vg.LV, error) {
	g, err := p.layoutFor(ctx, s.ID)
	if err != nil {
		return nil, vg.LV{}, err
	}
	source, err := p.sourceIn(g, s)
	return g, source, err
}

func (p *Pool) sourceIn(g *vg.Layout, s volume.Source) (vg.LV, error) {
	if s.Kind == volume.FromSnapshot {
		l, err := p.findSnapshot(g, s.ID)
		if err == nil {
			err = p.intact(g, l)
		}
		return l, err
	}
	return p.origin(g, s.ID)
}
