package driver

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// gate lets one call at a time change a thing, and lets its work go on when the caller leaves. A
// second call is told so at once and never waits; calls that only read pass untouched.
type gate struct {
	mu      sync.Mutex
	held    map[string]*holding
	stopped bool
	working sync.WaitGroup // grows only under mu and before stopped
}

// holding is who holds a name.
type holding struct {
	calls  int // more than one only where it is shared
	shared bool
	method string // of the last call that took it
}

func newGate() *gate { return &gate{held: map[string]*holding{}} }

// answer is how a handler ended.
type answer struct {
	resp any
	err  error
}

// hold passes a call that changes something on in a goroutine of its own, with a context that its
// caller cannot end, while it holds its names. When the caller's context ends first, the caller gets
// that error and the work goes on; a retry is Busy until it has ended, and then finds it done.
func (g *gate) hold(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	n, err := namesOf(req)
	if err != nil {
		return nil, err
	}
	if n.reads {
		return handler(ctx, req)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	method, started := path.Base(info.FullMethod), time.Now()
	release, err := g.take(method, n)
	if err != nil {
		return nil, err
	}
	done := make(chan answer)
	go func() {
		defer g.working.Done()
		end := answer{err: volume.Errorf(volume.Internal, "%s ended without an answer", method)}
		defer func() {
			release() // before the answer: who has it may call again at once
			select {
			case done <- end:
			case <-ctx.Done():
				logEnd(klog.FromContext(ctx).WithValues(made(end.resp)...), "work ended after its caller had left", started, statusOf(req, end.err))
			}
		}()
		end.resp, end.err = handler(context.WithoutCancel(ctx), req)
	}()
	select {
	case end := <-done:
		return end.resp, end.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%s goes on, ask again to learn how it ended: %w", method, ctx.Err())
	}
}

// take holds all the names, or none. The kind of its error is Busy where another call holds one, and
// Unavailable once the gate is stopped.
func (g *gate) take(method string, n names) (release func(), err error) {
	wanted := map[string]bool{} // name -> shared; what is asked for both ways is exclusive
	for _, name := range n.shared {
		wanted[name] = true
	}
	for _, name := range n.exclusive {
		wanted[name] = false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return nil, volume.Errorf(volume.Unavailable, "loam is stopping: ask again")
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if h := g.held[name]; h != nil && !(h.shared && wanted[name]) {
			thing, name, _ := strings.Cut(name, " ")
			return nil, volume.Errorf(volume.Busy, "%s %q is held by a %s that has not ended: ask again", thing, name, h.method)
		}
	}
	for name, shared := range wanted {
		h := g.held[name]
		if h == nil {
			h = &holding{shared: shared}
			g.held[name] = h
		}
		h.calls++
		h.method = method
	}
	g.working.Add(1)
	return func() { g.release(wanted) }, nil
}

func (g *gate) release(taken map[string]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name := range taken {
		if g.held[name].calls--; g.held[name].calls == 0 {
			delete(g.held, name)
		}
	}
}

// drain lets no more work begin and waits until all has ended. The kind of its error is Busy, and it
// names what had not ended when ctx did.
func (g *gate) drain(ctx context.Context) error {
	g.mu.Lock()
	g.stopped = true
	g.mu.Unlock()
	idle := make(chan struct{})
	go func() { defer close(idle); g.working.Wait() }()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.held) == 0 {
		return nil // it ended at the same moment
	}
	var left []string
	for _, name := range slices.Sorted(maps.Keys(g.held)) {
		left = append(left, g.held[name].method+" of "+name)
	}
	return volume.Errorf(volume.Busy, "stopped before this had ended: %s", strings.Join(left, ", "))
}
