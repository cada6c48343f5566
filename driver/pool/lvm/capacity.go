package lvm

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// capacity is what a pool has and what of it can be given out: in a thin pool in bytes, else in extents of
// each image of a volume (shape.cost).
type capacity struct {
	total, free, largest int64
	reserve              int64  // what is kept back of total and free
	trouble              string // why it is not healthy, empty where it is
	note                 string // what is worth knowing beside that
	broken               bool   // so that nothing can be made, whatever is free
}

// nearlyFull is how many percent of a thin pool's data or metadata may be taken, where volumes could
// overflow it, before it refuses new ones.
const nearlyFull = 90

// layoutOf returns the way in which the volumes of a pool lie in its group.
func layoutOf(of *ground) layout {
	if of.config.ThinPool != "" {
		return &thin{ground: of}
	}
	return &thick{ground: of, shape: of.config.shape()}
}

// capacity measures the pool, of whose thin pool the state is given.
func (p *account) capacity(g *vg.Layout, state vg.State) (capacity, error) {
	c, err := p.layout.capacity(g, state)
	if g.Missing > 0 { // LVM changes nothing now
		c.free, c.largest, c.broken = 0, 0, false
		c.trouble = fmt.Sprintf("volume group %q lacks %d of its disks: bring them back, or replace them%s", g.Name, g.Missing, p.vg.StrayDevices(g))
	}
	if failed := p.extensionTrouble(); failed != "" {
		c.trouble = strings.TrimPrefix(c.trouble+"; "+failed, "; ")
	}
	return c, err
}

// reportedCapacity is capacity with what LVM reports beside the layout.
func (p *account) reportedCapacity(r *vg.Report) (capacity, error) {
	c, err := p.capacity(&r.Layout, r.States[p.config.ThinPool])
	if err != nil {
		return c, err
	}
	c.trouble = cmp.Or(c.trouble, p.layout.unhealthy(r))
	if r.Texts > 0 && r.TextFree < textOfOne/4 {
		c.free, c.largest, c.trouble = 0, 0, textsFull(r)
	}
	return c, nil
}

// currentCapacity is capacity with the thin pool as device-mapper has it. One that has failed says no numbers, and LVM is asked.
func (p *account) currentCapacity(ctx context.Context, g *vg.Layout) (capacity, error) {
	var state vg.State
	if thin := p.vg.Thin(); thin != nil {
		usage, active, err := thin.Usage()
		if err != nil {
			r, err := p.vg.Report(ctx)
			if err != nil {
				return capacity{}, err
			}
			return p.reportedCapacity(r)
		}
		state = vg.State{Active: active, Data: usage.Data, Metadata: usage.Metadata, Health: usage.Health}
		p.noticeUsage(g, state)
	}
	return p.capacity(g, state)
}

// Status measures the pool. What is reserved for what is being made is taken off, even if the report shows it already.
func (p *Pool) Status(ctx context.Context) (volume.PoolStatus, error) {
	cannot, thin := p.wake(ctx), p.vg.Thin()
	if cannot == nil && thin != nil {
		cannot = thin.Disagreement(ctx)
	}
	reported, err := p.vg.Report(ctx)
	if err != nil {
		return volume.PoolStatus{}, err
	}
	if err := p.checkReport(reported); err != nil {
		return volume.PoolStatus{}, err
	}
	g := &reported.Layout
	r, err := p.reportedCapacity(reported)
	if err != nil {
		return volume.PoolStatus{}, err
	}
	if cannot != nil && g.Missing == 0 { // without a disk, that is what is to be said
		klog.FromContext(ctx).Error(cannot, "nothing can be made in a thin pool", "pool", p.name)
		r.free, r.largest = 0, 0
		r.trouble = strings.TrimSuffix(strings.TrimPrefix(cannot.Error(), fmt.Sprintf("pool %q: ", p.name))+"; "+r.trouble, "; ")
	} else if thin != nil {
		if held := thin.NumberTrouble(ctx); held != "" {
			r.free, r.largest, r.trouble = 0, 0, held
		}
	}
	if held := p.heldBack(reported); held != "" {
		r.free, r.largest, r.trouble = 0, 0, strings.TrimSuffix(held+"; "+r.trouble, "; ")
	}
	damage := p.damageIn(g)
	if p.logDamage(damage); r.trouble == "" { // and what is free can be had
		r.trouble = damage
	}
	p.space.Lock()
	reserved := p.space.reserved
	p.space.Unlock()
	extent := g.Extent
	return volume.PoolStatus{
		Pool: p.name, TotalBytes: p.layout.bytes(r.total, extent), FreeBytes: p.layout.bytes(max(r.free-reserved, 0), extent),
		LargestBytes: p.layout.bytes(max(r.largest-reserved, 0), extent), LeastBytes: p.layout.unit(), Fallbacks: p.vg.Fallbacks(), Held: p.held.Read(),
		Healthy: r.trouble == "", Message: cmp.Or(r.trouble, moves(g), r.note),
	}, nil
}

// space keeps the account of what is being given out, where LVM itself would give out more.
type space struct {
	sync.Mutex
	ended    sync.Cond
	inFlight int   // how many commands are giving out space
	reserved int64 // what those take
}

// take sees to it that so much is free, and runs do, which takes it. The kind of its error is Full where
// it is not free. A pool of thick volumes without a reserve leaves that to LVM.
func (p *account) take(ctx context.Context, cost int64, do func() error) error {
	if thin := p.vg.Thin(); thin != nil {
		thin.Revive(ctx)
	}
	if err := p.wake(ctx); err != nil {
		return err
	}
	s := &p.space
	s.Lock()
	if err := p.afford(ctx, cost); err != nil {
		s.Unlock()
		return err
	}
	s.inFlight, s.reserved = s.inFlight+1, s.reserved+cost
	s.Unlock()
	err := do()
	s.Lock()
	defer s.Unlock()
	s.inFlight, s.reserved = s.inFlight-1, s.reserved-cost
	s.ended.Broadcast()
	return err
}

// afford is called with p.space held. What is being made may be in the metadata already or not, so it is taken
// off; a pool that seems full for that is looked at again when nothing is being made.
func (p *account) afford(ctx context.Context, cost int64) error {
	s := &p.space
	if p.vg.Thin() == nil && p.config.ReserveBytes == 0 && p.config.ReservePercent == 0 {
		return nil
	}
	for {
		reserved := s.reserved
		g, err := p.vg.Layout(ctx)
		if err != nil {
			return err
		}
		if err := p.check(g); err != nil { // an administrator may have changed the thin pool
			return err
		}
		r, err := p.currentCapacity(ctx, g)
		if err != nil {
			return err
		}
		switch {
		case cost <= r.largest-reserved:
			return nil
		case reserved == 0 || cost > r.largest:
			return p.full(g, r, cost)
		}
		for s.inFlight > 0 {
			s.ended.Wait()
		}
	}
}
