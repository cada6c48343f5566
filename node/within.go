package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/loam-storage/loam/driver/volume"
)

// unanswered is who was asked, has not answered yet, and is not waited for any more.
type unanswered struct {
	mu  sync.Mutex
	who map[string]bool
}

func (u *unanswered) is(who string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.who[who]
}

func (u *unanswered) set(who string, is bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.who == nil {
		u.who = map[string]bool{}
	}
	if is {
		u.who[who] = true
	} else {
		delete(u.who, who)
	}
}

// poolOf names the pool of a volume for within.
func poolOf(handle string) string { return "the pool of volume " + handle }

// within asks somebody by calling do, and waits for it no longer than patience. Then the kind of the error is Unavailable, and do goes on: what
// hangs in the kernel cannot be ended, and holds a thread. So until it has ended, who is not asked again, however often the orchestrator
// calls, and the error is the same at once.
func within[T any](ctx context.Context, s *Server, who string, patience time.Duration, do func(context.Context) (T, error)) (none T, err error) {
	if s.unanswered.is(who) {
		return none, volume.Errorf(volume.Unavailable, "%s has not answered an earlier call", who)
	}
	type end struct {
		got      T
		err      error
		panicked any
	}
	ended := make(chan end, 1)
	go func() {
		e := end{err: errors.New("the call ended without an answer")}
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
		s.unanswered.set(who, true)
		go func() {
			<-ended
			s.unanswered.set(who, false)
		}()
		return none, volume.Errorf(volume.Unavailable, "%s has not answered within %s", who, patience)
	}
}
