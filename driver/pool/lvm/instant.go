package lvm

import (
	"context"
	"errors"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// LVM takes one snapshot at a time, with one volume suspended. So where several volumes of a group can be
// written to, the snapshots that LVM has made are taken anew, by the kernel alone: all these volumes are suspended, each
// snapshot is emptied and begins again, and all are resumed. LVM's metadata and what it knows of the thin pool stay as they
// are, and the snapshots are tagged as half made until then.

// atOneInstant does that.
func (p *Pool) atOneInstant(ctx context.Context, members []member) (err error) {
	written, err := p.written(ctx, members)
	if err != nil || len(written) < 2 {
		return err
	}
	release, err := p.vg.Lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	g, err := vg.LayoutIn(p.vg.ReportLocked(ctx))
	if err != nil {
		return err
	}
	watchdog, err := host.StartWatchdog(ctx)
	if err != nil {
		return volume.Errorf(volume.KindOf(err), "pool %q: %w", p.name, err)
	}
	defer watchdog.End()
	var volumes []string
	var takes []func() error
	for _, m := range written {
		take, err := p.prepareAnew(ctx, g, m)
		if err != nil {
			return err
		}
		volumes, takes = append(volumes, p.vg.Mapped(m.volume.Name)), append(takes, take)
	}
	start := time.Now()
	defer func() { p.held.Note(ctx, p.name, time.Since(start), "logicalVolumes", volumes) }()
	frozen, err := watchdog.Freeze(volumes)
	if err != nil {
		return volume.Errorf(volume.KindOf(err), "pool %q: %w", p.name, err)
	}
	for _, take := range takes {
		if err = errors.Join(frozen.Beat(), take()); err != nil {
			break
		}
	}
	return errors.Join(err, frozen.Thaw())
}

// written returns those whose volume may be written to now.
func (p *Pool) written(ctx context.Context, members []member) (written []member, err error) {
	for _, m := range members {
		d, attached, err := p.attached(ctx, m.volume.Name)
		if err != nil {
			return nil, err
		}
		if attached && !d.ReadOnly {
			written = append(written, m)
		}
	}
	return written, nil
}

// prepareAnew empties a snapshot, and returns what takes it anew while its volume is suspended.
func (p *Pool) prepareAnew(ctx context.Context, g *vg.Layout, m member) (take func() error, err error) {
	s, there := g.Find(m.LV.Name)
	origin, originThere := g.Find(m.volume.Name)
	if !there || !originThere || !s.Has(p.identity(m.LV)) || !s.Has(tagMaking) || !origin.Has(p.identity(m.volume)) || s.Origin != origin.Name {
		return nil, volume.Errorf(volume.Unavailable, "pool %q: snapshot %q was changed by somebody else while it was made", p.name, m.LV.Name)
	}
	return p.layout.retake(ctx, s, origin)
}
