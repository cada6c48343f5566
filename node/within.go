package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/loam-storage/loam/driver/volume"
)

// unanswered is the handles of volumes of which a pool was asked that has not answered yet, and for which nobody waits any more.
type unanswered struct {
	mu sync.Mutex
	of map[string]bool
}

func (u *unanswered) is(handle string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.of[handle]
}

func (u *unanswered) set(handle string, is bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.of == nil {
		u.of = map[string]bool{}
	}
	if is {
		u.of[handle] = true
	} else {
		delete(u.of, handle)
	}
}

// within asks a pool of a volume by calling do, and waits for it no longer than patience. Then the kind of the error is Unavailable, and do
// goes on: what hangs in the kernel cannot be ended, and holds a thread. So until it has ended nothing more is asked of that volume, however
// often the orchestrator calls, and the error is the same at once.
func within[T any](ctx context.Context, s *Server, handle string, patience time.Duration, do func(context.Context) (T, error)) (none T, err error) {
	if s.unanswered.is(handle) {
		return none, volume.Errorf(volume.Unavailable, "the pool has not answered an earlier call for the volume")
	}
	type end struct {
		got      T
		err      error
		panicked any
	}
	ended := make(chan end, 1)
	go func() {
		e := end{err: errors.New("the pool ended without an answer")}
		defer func() {
			e.panicked = recover() // for who waits
			ended <- e
		}()
		e.got, e.err = do(ctx)
	}()
	select {
	case e := <-ended:
		if e.panicked != nil {
			panic(e.panicked)
		}
		return e.got, e.err
	case <-time.After(patience):
		s.unanswered.set(handle, true)
		go func() {
			<-ended
			s.unanswered.set(handle, false)
		}()
		return none, volume.Errorf(volume.Unavailable, "the pool has not answered within %s", patience)
	}
}
