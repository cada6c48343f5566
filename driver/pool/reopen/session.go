package reopen

import (
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// session is the time from when the pool was opened to when it is closed.
type session struct {
	pool  pool.Pool
	calls int  // that are at work; guarded by the mutex of Pool
	over  bool // no call is let in any more, and the last one closes the pool

	unused chan struct{} // closed when it is over and has no calls
	closed chan struct{} // closed when the pool is
	err    error         // of closing it
}

// begin begins a session, unless Close was called.
func (p *Pool) begin(opened pool.Pool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.session, p.reason = &session{pool: opened, unused: make(chan struct{}), closed: make(chan struct{})}, nil
	p.last = p.session
	return true
}

// enter lets a call in. The kind of its error is Unavailable while the pool is not open.
func (p *Pool) enter() (*session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == nil {
		if p.closed {
			return nil, volume.Errorf(volume.Unavailable, "pool %q is closed", p.name)
		}
		return nil, volume.Errorf(volume.Unavailable, "%w", p.missing())
	}
	p.session.calls++
	return p.session, nil
}

// leave ends a call that answered err. Where the pool has lost its place, no further call is let in, and the last one to
// leave has it closed and opened again.
func (p *Pool) leave(s *session, err error) {
	var why error
	if losable, can := s.pool.(pool.Losable); can && volume.Is(err, volume.Unavailable) {
		why = losable.Lost()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if why != nil && !s.over {
		s.over, p.session, p.reason = true, nil, why
		klog.FromContext(p.ctx).Info("pool was lost, and is opened again when its calls have ended", "pool", p.name, "err", why.Error())
	}
	if s.calls--; s.calls > 0 || !s.over {
		return
	}
	if p.closed {
		go p.finish(s)
		return
	}
	p.working.Go(func() {
		if p.finish(s); s.err != nil {
			klog.FromContext(p.ctx).Error(s.err, "a pool that was lost is not closed well", "pool", p.name)
		}
		p.keepOpening(func() {})
	})
}

// finish closes the pool of a session that is over and has no calls.
func (p *Pool) finish(s *session) {
	close(s.unused)
	s.err = s.pool.Close()
	close(s.closed)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == s {
		p.last = nil
	}
}

// end lets no call in any more, and returns the session whose pool is to be closed, if there is one.
func (p *Pool) end() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.session = true, nil
	if s := p.last; s != nil && !s.over {
		if s.over = true; s.calls == 0 {
			go p.finish(s)
		}
	}
	return p.last
}
