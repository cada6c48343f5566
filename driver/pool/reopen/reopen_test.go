package reopen_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/pool/pooltest"
	"github.com/loam-storage/loam/driver/pool/reopen"
	"github.com/loam-storage/loam/driver/volume"
)

const node = "n1"

// What is open is a pool like any other.
func TestPool(t *testing.T) {
	pooltest.Run(t, pooltest.Options{Node: node, Untried: true, New: func(t *testing.T) pool.Pool {
		p := reopen.New("fast", func(context.Context) (pool.Pool, error) { return memory.New("fast", node, pooltest.Room), nil })
		if err := p.Start(context.Background(), time.Minute); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		return p
	}})
}

func logged(t *testing.T) (context.Context, func() string) {
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	return klog.NewContext(t.Context(), logger), func() string { return logger.GetSink().(ktesting.Underlier).GetBuffer().String() }
}

func TestAPoolIsOpenedWithLongerAndLongerPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, log := logged(t)
		began := time.Now()
		var at []time.Duration
		p := reopen.New("fast", func(context.Context) (pool.Pool, error) {
			at = append(at, time.Since(began))
			if len(at) <= 8 {
				return nil, volume.Errorf(volume.Unavailable, "pool %q: the disk is away; %d devices were looked at", "fast", len(at))
			}
			return memory.New("fast", node, volume.GiB), nil
		})
		if err := p.Start(ctx, time.Minute); !volume.Is(err, volume.Unavailable) || !strings.HasPrefix(err.Error(), `pool "fast" is not available: the disk is away`) {
			t.Errorf("Start: %v", err)
		}
		if _, err := p.List(ctx, "", 0); !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), "the disk is away") {
			t.Errorf("List: %v", err)
		}
		time.Sleep(10 * time.Minute)
		if err := p.Missing(); err != nil {
			t.Error(err)
		}
		if _, err := p.List(ctx, "", 0); err != nil {
			t.Errorf("List: %v", err)
		}
		want := "[0s 1s 3s 7s 15s 31s 1m1s 1m31s 2m1s]"
		if got := fmt.Sprint(at); got != want {
			t.Errorf("it was tried after %s, want %s", got, want)
		}
		if n := strings.Count(log(), "is not available"); n != 1 {
			t.Errorf("the log says it %d times:\n%s", n, log())
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A disk that hangs keeps nobody waiting for longer than is said, and is used when it answers.
func TestAPoolWhoseDiskHangsIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan struct{})
		p := reopen.New("fast", func(context.Context) (pool.Pool, error) {
			<-answers
			return memory.New("fast", node, volume.GiB), nil
		})
		began := time.Now()
		if err := p.Start(t.Context(), 20*time.Second); err == nil || time.Since(began) != 20*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		close(answers)
		synctest.Wait()
		if err := p.Missing(); err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}

// losable is a pool that can lose its place.
type losable struct {
	*memory.Pool
	lost    atomic.Bool
	during  chan struct{} // a Get waits for it
	waiting chan struct{}
	closed  atomic.Int32
}

var errLost = volume.Errorf(volume.Unavailable, `pool "fast": its disk has failed`)

func (l *losable) Lost() error {
	if l.lost.Load() {
		return errLost
	}
	return nil
}

func (l *losable) Status(ctx context.Context) (volume.PoolStatus, error) {
	if err := l.Lost(); err != nil {
		return volume.PoolStatus{}, err
	}
	return l.Pool.Status(ctx)
}

func (l *losable) Get(ctx context.Context, id volume.ID) (volume.Volume, error) {
	close(l.waiting)
	<-l.during
	return l.Pool.Get(ctx, id)
}

func (l *losable) Close() error {
	l.closed.Add(1)
	return l.Pool.Close()
}

func TestAPoolThatWasLostIsClosedAfterItsCallsAndOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := &losable{Pool: memory.New("fast", node, volume.GiB), during: make(chan struct{}), waiting: make(chan struct{})}
		opened := 0
		p := reopen.New("fast", func(context.Context) (pool.Pool, error) {
			if opened++; opened == 1 {
				return first, nil
			}
			return memory.New("fast", node, volume.GiB), nil
		})
		if err := p.Start(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
		var calls sync.WaitGroup
		calls.Go(func() { _, _ = p.Get(t.Context(), volume.ID{Node: node, Pool: "fast", Name: "v"}) })
		<-first.waiting
		first.lost.Store(true)
		if _, err := p.Status(t.Context()); !errors.Is(err, errLost) {
			t.Errorf("Status: %v", err)
		}
		if _, err := p.Status(t.Context()); !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), "its disk has failed") {
			t.Errorf("Status again: %v", err)
		}
		synctest.Wait()
		if n := first.closed.Load(); n != 0 {
			t.Error("it was closed while a call was at work")
		}
		close(first.during)
		calls.Wait()
		synctest.Wait()
		if n := first.closed.Load(); n != 1 || opened != 2 || p.Missing() != nil {
			t.Errorf("closed %d times, opened %d times, %v", n, opened, p.Missing())
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if _, err := p.Status(t.Context()); !volume.Is(err, volume.Unavailable) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// Whoever closes the pool waits for the calls that are at work in it, also where it was lost before.
func TestCloseWaitsForTheCallsAtWork(t *testing.T) {
	for _, lost := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := &losable{Pool: memory.New("fast", node, volume.GiB), during: make(chan struct{}), waiting: make(chan struct{})}
			p := reopen.New("fast", func(context.Context) (pool.Pool, error) { return l, nil })
			if err := p.Start(t.Context(), time.Minute); err != nil {
				t.Fatal(err)
			}
			var calls sync.WaitGroup
			calls.Go(func() { _, _ = p.Get(t.Context(), volume.ID{Node: node, Pool: "fast", Name: "v"}) })
			<-l.waiting
			if lost {
				l.lost.Store(true)
				if _, err := p.Status(t.Context()); !errors.Is(err, errLost) {
					t.Error(err)
				}
			}
			calls.Go(func() {
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			if n := l.closed.Load(); n != 0 {
				t.Errorf("lost %t: it was closed while a call was at work", lost)
			}
			close(l.during)
			calls.Wait()
			if n := l.closed.Load(); n != 1 {
				t.Errorf("lost %t: closed %d times", lost, n)
			}
		})
	}
}

// A call that does not end keeps no process from ending. The pool is not closed under it.
func TestCloseWaitsForSecondsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &losable{Pool: memory.New("fast", node, volume.GiB), during: make(chan struct{}), waiting: make(chan struct{})}
		p := reopen.New("fast", func(context.Context) (pool.Pool, error) { return l, nil })
		if err := p.Start(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = p.Get(t.Context(), volume.ID{Node: node, Pool: "fast", Name: "v"}) }()
		<-l.waiting
		began := time.Now()
		if err := p.Close(); err != nil || time.Since(began) > time.Minute || l.closed.Load() != 0 {
			t.Errorf("after %s, closed %d times: %v", time.Since(began), l.closed.Load(), err)
		}
		close(l.during)
	})
}

// A call that fails although the pool is at its place is no reason to close it.
func TestAPoolThatIsAtItsPlaceStaysOpen(t *testing.T) {
	opened := 0
	p := reopen.New("fast", func(context.Context) (pool.Pool, error) {
		opened++
		return unavailable{memory.New("fast", node, volume.GiB)}, nil
	})
	if err := p.Start(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := p.Status(t.Context()); !errors.Is(err, errLost) {
			t.Errorf("Status: %v", err)
		}
	}
	if err := p.Close(); err != nil || opened != 1 {
		t.Errorf("opened %d times, %v", opened, err)
	}
}

type unavailable struct{ *memory.Pool }

func (unavailable) Status(context.Context) (volume.PoolStatus, error) {
	return volume.PoolStatus{}, errLost
}

func (unavailable) Lost() error { return nil }
