// Package reopen keeps a pool in service that may not be there. It opens the pool, again and again with longer pauses
// where it cannot be opened, and answers for it meanwhile: each call is Unavailable and says why. A pool that was open
// and has lost its place is closed, so that its disk can be unmounted and repaired, and opened again.
package reopen

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// Waiting between two attempts doubles from leastWait to mostWait. An attempt costs a few reads, or a process of LVM.
const (
	leastWait = time.Second
	mostWait  = 30 * time.Second
)

// closePatience is how long Close waits for calls and for an attempt that are at work. One on a disk that hangs never ends.
const closePatience = 5 * time.Second

// Open opens the pool, or says why it cannot be opened now.
type Open func(ctx context.Context) (pool.Pool, error)

// Pool is a pool.Snapshotter, whether the pool behind it is open or not. It is safe for concurrent use.
type Pool struct {
	name string
	open Open
	ctx  context.Context // of the attempts, from Start to Close
	stop context.CancelFunc

	mu      sync.Mutex
	session *session // nil while no call is let in
	last    *session // that was begun last, until its pool is closed
	reason  error    // why it is not; nil while it is
	closed  bool
	working sync.WaitGroup // what opens the pool; grows only under mu and before closed
}

var _ pool.Snapshotter = (*Pool)(nil)

// New returns a pool of that name that is not open. Nothing is done before Start.
func New(name string, open Open) *Pool {
	return &Pool{name: name, open: open, reason: errors.New("it is being opened")}
}

// Start opens the pool and returns why it is not open; nil where it is. It waits for the first attempt, but no longer
// than patience: a disk that hangs keeps the others waiting no longer than that. Where the pool is not open then, it is
// tried again until it is, or until Close or the end of ctx.
func (p *Pool) Start(ctx context.Context, patience time.Duration) error {
	p.ctx, p.stop = context.WithCancel(ctx)
	first := make(chan struct{})
	p.working.Go(func() { p.keepOpening(sync.OnceFunc(func() { close(first) })) })
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-first:
	case <-late.C:
		p.because(fmt.Errorf("it is being opened since %s: its disk may not answer", patience))
	case <-ctx.Done():
		return ctx.Err()
	}
	return p.Missing()
}

// Missing returns why the pool is not open; nil while it is. The kind of the error is that of the attempt that failed.
func (p *Pool) Missing() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.missing()
}

func (p *Pool) missing() error {
	if p.reason == nil {
		return nil
	}
	says := strings.TrimPrefix(p.reason.Error(), fmt.Sprintf("pool %q: ", p.name))
	return volume.Errorf(volume.KindOf(p.reason), "pool %q is not available: %w", p.name, &reason{says, p.reason})
}

// reason is an error without the name of the pool before it, which the text around it has.
type reason struct {
	says string
	error
}

func (r *reason) Error() string { return r.says }
func (r *reason) Unwrap() error { return r.error }

// keepOpening tries until the pool is open. It calls tried after each attempt.
func (p *Pool) keepOpening(tried func()) {
	for wait := leastWait; ; wait = min(2*wait, mostWait) {
		opened, err := p.open(p.ctx)
		if err == nil {
			p.use(opened)
			tried()
			return
		}
		if p.ctx.Err() == nil {
			p.because(err)
		}
		tried()
		select {
		case <-p.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// use lets calls in.
func (p *Pool) use(opened pool.Pool) {
	if p.begin(opened) {
		klog.FromContext(p.ctx).Info("pool is open", "pool", p.name)
	} else if err := opened.Close(); err != nil {
		klog.FromContext(p.ctx).Error(err, "a pool that was opened too late is not closed", "pool", p.name)
	}
}

// because notes why the pool is not open, and logs it where it is another reason than before.
func (p *Pool) because(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session != nil || p.closed || gist(p.reason) == gist(err) {
		return
	}
	p.reason = err
	klog.FromContext(p.ctx).Info("pool is not available, and is tried again", "pool", p.name, "err", err.Error())
}

// gist returns what an error says, without what is different each time: numbers, and details behind a semicolon, such as
// which devices the machine has at that moment.
func gist(err error) string {
	says, _, _ := strings.Cut(err.Error(), ";")
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, says)
}

// Name returns the pool's name.
func (p *Pool) Name() string { return p.name }

// Close closes the pool when the calls that are at work in it have ended, and ends the attempts to open it. A pool in which one does not
// end is not closed: that is left to the end of the process.
func (p *Pool) Close() error {
	s := p.end()
	if p.stop != nil {
		p.stop()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.working.Wait()
		if s != nil {
			<-s.unused
		}
	}()
	select {
	case <-ended:
	case <-time.After(closePatience):
		klog.FromContext(p.ctx).Info("a pool is still being opened, or a call is at work in it, and its process ends", "pool", p.name)
		return nil
	}
	if s == nil {
		return nil
	}
	<-s.closed
	return s.err
}
