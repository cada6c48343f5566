package lvm

import (
	"context"
	"sync"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// copies is who copies blocks from thick volumes and their snapshots in this process. LVM activates a
// volume together with its copy-on-write snapshots, so the device of a volume that is copied from is there,
// and does not mean that the volume is attached. One that is active only for that carries tagCopying, and
// is handed to nobody until the last copy has ended.
type copies struct {
	mu sync.Mutex
	of map[string]*source // by name of the volume's logical volume
}

// source is a volume that is copied from, or whose device is appearing or going.
type source struct {
	copies   int
	attached bool          // before the first copy, and so also after the last one
	changing chan struct{} // closed when its device has appeared or gone, nil where that is so
}

// change lets the caller alone make the device of a logical volume appear or go, until done. The kind of
// its error is Unavailable where ctx ended before another one was done.
func (p *lvs) change(ctx context.Context, name string) (c *source, done func(), err error) {
	for {
		p.copies.mu.Lock()
		c = p.copies.of[name]
		if c == nil {
			c = &source{}
			p.copies.of[name] = c
		}
		other := c.changing
		if other == nil {
			c.changing = make(chan struct{})
		}
		p.copies.mu.Unlock()
		if other == nil {
			return c, func() { p.changed(name, c) }, nil
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, nil, volume.Errorf(volume.Unavailable, "pool %q: waiting for the device of logical volume %q: %w", p.name, name, ctx.Err())
		}
	}
}

func (p *lvs) changed(name string, c *source) {
	p.copies.mu.Lock()
	defer p.copies.mu.Unlock()
	close(c.changing)
	if c.changing = nil; c.copies == 0 {
		delete(p.copies.of, name)
	}
}

// onlyCopied reports whether it is active for nothing but copies that this process makes.
func (c *source) onlyCopied() bool { return c.copies > 0 && !c.attached }

// holdDevices makes the devices of a thick volume and its snapshots appear to copy from, until release,
// and reports whether it is attached: then it may be written to meanwhile.
func (p *lvs) holdDevices(ctx context.Context, l vg.LV) (attached bool, release func(context.Context) error, err error) {
	c, done, err := p.change(ctx, l.Name)
	if err != nil {
		return false, nil, err
	}
	defer done()
	if c.copies == 0 {
		if _, c.attached, err = p.attached(ctx, l.Name); err != nil {
			return false, nil, err
		}
		if !c.attached {
			if err := p.activateForCopy(ctx, l); err != nil {
				return false, nil, err
			}
		}
	}
	c.copies++
	return c.attached, func(ctx context.Context) error { return p.releaseDevices(ctx, l) }, nil
}

// attached reports whether a logical volume is active for more than copies, and returns its device.
func (p *lvs) attached(ctx context.Context, name string) (host.Mapped, bool, error) {
	d, active, err := p.vg.Device(name)
	if err != nil || !active {
		return d, false, err
	}
	g, err := p.vg.Layout(ctx)
	if err != nil {
		return d, false, err
	}
	l, _ := g.Find(name)
	return d, !l.Has(tagCopying), nil
}

func (p *lvs) activateForCopy(ctx context.Context, l vg.LV) error {
	identity := p.identity(l)
	err := p.vg.Change(ctx, vg.Tag(vg.Only(l.Name, identity), []string{tagCopying}, nil))
	if err == nil {
		var device string
		if device, err = p.activate(ctx, l.Name, true, identity, tagCopying); err == nil && device == "" {
			err = volume.Errorf(volume.NotFound, "pool %q: logical volume %q is gone", p.name, l.Name)
		}
	}
	if err != nil {
		err = p.why(ctx, err, 0)
		_ = p.endCopying(ctx, l.Name, identity) // an attach tries it again
	}
	return err
}

// releaseDevices takes one copy off.
func (p *lvs) releaseDevices(ctx context.Context, l vg.LV) error {
	c, done, err := p.change(context.WithoutCancel(ctx), l.Name)
	if err != nil {
		return err
	}
	defer done()
	if c.copies--; c.copies > 0 || c.attached {
		return nil
	}
	return p.endCopying(ctx, l.Name, p.identity(l))
}

// endCopying makes a logical volume that was active for copies inactive, and then takes the tag that says
// so: in this order, for without the tag an active one is attached.
func (p *lvs) endCopying(ctx context.Context, name, identity string) error {
	if err := p.deactivate(ctx, name, identity); err != nil {
		return err
	}
	return p.why(ctx, p.vg.Change(ctx, vg.Tag(vg.Only(name, identity), nil, []string{tagCopying})), 0)
}

// endCopies does that after a crash, when the pool is opened. One that is open stays; an attach tries it again.
func (p *lvs) endCopies(ctx context.Context, g *vg.Layout) error {
	for _, l := range g.LVs {
		if !p.ours(l) || !l.Has(tagCopying) || p.named(l) != nil {
			continue
		}
		if err := p.endCopying(ctx, l.Name, p.identity(l)); err != nil && !volume.Is(err, volume.InUse) {
			return err
		}
	}
	return nil
}
