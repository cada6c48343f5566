package memory

import (
	"context"
	"time"

	"github.com/loam-storage/loam/driver/volume"
)

// Create makes a volume, or a copy of its source.
func (p *Pool) Create(_ context.Context, spec volume.Spec) (volume.Volume, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.own(spec.ID) {
		return volume.Volume{}, p.missing(spec.ID)
	}
	if d := p.volumes[spec.ID.Name]; d != nil {
		return d.Volume, d.Fits(spec)
	}
	source, err := p.source(spec)
	if err != nil {
		return volume.Volume{}, err
	}
	size, err := spec.PickSize(source.size, unit, unit)
	if err != nil {
		return volume.Volume{}, err
	}
	blockBytes, err := spec.PickBlockBytes(source.blockBytes, volume.DefaultBlockBytes)
	if err != nil {
		return volume.Volume{}, err
	}
	if err := p.room(size); err != nil {
		return volume.Volume{}, err
	}
	d := &disk{Volume: volume.Volume{
		ID: spec.ID, Size: size, Source: spec.Source, FSType: spec.FSType, Parameters: spec.Parameters,
		Claim: spec.Claim, Ephemeral: spec.Ephemeral, Created: time.Now(), Mark: volume.Fresh,
		BlockBytes: blockBytes,
	}, content: &content{}}
	if source.content != nil {
		d.Mark = source.mark
		if d.content, err = source.content.copy(size); err != nil {
			return volume.Volume{}, err
		}
	}
	p.volumes[spec.ID.Name] = d
	return d.Volume, nil
}

// origin is what a new volume starts as a copy of; the zero value is nothing.
type origin struct {
	content          *content
	size, blockBytes volume.Size
	mark             volume.Mark // of the copy
}

// source finds what spec is a copy of.
func (p *Pool) source(spec volume.Spec) (origin, error) {
	switch {
	case spec.Source == nil:
		return origin{}, nil
	case spec.Source.Kind == volume.FromSnapshot:
		s, err := p.findSnapshot(spec.Source.ID)
		if err == nil {
			err = s.Intact()
		}
		if err != nil {
			return origin{}, err
		}
		return origin{s.content, s.Size, s.BlockBytes, s.Mark}, nil
	default:
		d, err := p.intact(spec.Source.ID)
		if err != nil {
			return origin{}, err
		}
		return origin{d.content, d.Size, d.BlockBytes, d.Mark.OfCopy()}, nil
	}
}

// Delete forgets a volume.
func (p *Pool) Delete(_ context.Context, id volume.ID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, err := p.intact(id)
	if err != nil {
		return absent(err)
	}
	if d.Attached() {
		return volume.Errorf(volume.InUse, "volume %q is attached as %s: detach it first", id, d.Device)
	}
	d.content.close()
	delete(p.volumes, id.Name)
	return nil
}

// Expand makes a volume larger.
func (p *Pool) Expand(_ context.Context, id volume.ID, asked volume.Range) (volume.Volume, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, err := p.intact(id)
	if err != nil {
		return volume.Volume{}, err
	}
	size, err := d.Grown(asked, unit)
	if err != nil || size == d.Size {
		return d.Volume, err
	}
	if err := p.room(size - d.Size); err != nil {
		return volume.Volume{}, err
	}
	if err := d.content.resize(size); err != nil {
		return volume.Volume{}, err
	}
	d.Size = size
	return d.Volume, nil
}
