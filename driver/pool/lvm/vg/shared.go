package vg

import (
	"context"
	"sync"

	"github.com/loam-storage/loam/driver/volume"
)

// shared lets callers that ask at the same moment share one answer, which begins to be looked for after all of them have
// asked. One that never comes, of a disk that hangs, holds nobody longer than their own context.
type shared[T any] struct {
	mu   sync.Mutex
	next *answer[T] // not begun yet
	one  sync.Mutex // held while an answer is looked for
}

// answer is one that is waited for.
type answer[T any] struct {
	done    chan struct{}
	waiting int // callers
	value   T
	err     error
}

// get has find called for the caller and those who join it. The kind of its error is Unavailable where ctx ended first,
// and the error then names the pool.
func (s *shared[T]) get(ctx context.Context, pool string, find func(context.Context) (T, error)) (T, error) {
	s.mu.Lock()
	a := s.next
	if a == nil {
		a = &answer[T]{done: make(chan struct{})}
		s.next = a
		go func(ctx context.Context) {
			s.one.Lock()
			defer s.one.Unlock()
			s.mu.Lock()
			s.next = nil
			s.mu.Unlock()
			a.value, a.err = find(ctx)
			close(a.done)
		}(context.WithoutCancel(ctx))
	}
	a.waiting++
	s.mu.Unlock()
	select {
	case <-a.done:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, volume.Errorf(volume.Unavailable, "pool %q: waiting for its disks or lvm: %w", pool, ctx.Err())
	}
}
