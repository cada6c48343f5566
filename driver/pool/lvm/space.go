package lvm

import (
	"context"
	"sync"
)

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
