package lvm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// watchEvery is how often device-mapper is asked how full a thin pool is that is to be extended. Asking
// takes no process and no disk.
const watchEvery = 5 * time.Second

// retryEvery is how often an extension that failed is tried again.
const retryEvery = time.Minute

// extension is the watch over a thin pool that is extended from its volume group before it is full.
type extension struct {
	now  chan struct{} // a report shows that it is due
	stop context.CancelFunc
	done chan struct{}

	mu        sync.Mutex
	trouble   string // why the last one failed, empty where it did not
	noExtents bool   // because the group had nothing left
}

// watch begins the watch where the configuration says so.
func (p *account) watch(ctx context.Context) {
	if p.config.ExtendAt == 0 {
		return
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	e := &extension{now: make(chan struct{}, 1), stop: stop, done: make(chan struct{})}
	p.extension.Store(e)
	go func() {
		defer close(e.done)
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		var tried time.Time
		for {
			select {
			case <-ctx.Done():
				return
			case <-e.now:
			case <-tick.C:
				if e.lastTrouble() != "" && time.Since(tried) < retryEvery || !p.seemsFull(ctx) {
					continue
				}
			}
			tried = time.Now()
			p.extendPool(ctx, e)
		}
	}()
}

// unwatch ends it, after an extension that is under way.
func (p *account) unwatch() {
	if e := p.extension.Load(); e != nil {
		e.stop()
		<-e.done
	}
}

// seemsFull asks device-mapper. A pool that is not active takes nothing.
func (p *account) seemsFull(ctx context.Context) bool {
	usage, active, err := p.vg.Thin().Usage()
	if err != nil {
		klog.FromContext(ctx).Error(err, "nobody knows whether a thin pool has to be extended", "pool", p.name)
		return false
	}
	return active && max(usage.Data, usage.Metadata) >= float64(p.config.ExtendAt)
}

// noticeUsage has the thin pool extended where a report shows that it is due.
func (p *account) noticeUsage(g *vg.Layout, t vg.State) {
	e := p.extension.Load()
	if e == nil {
		return
	}
	e.mu.Lock()
	try := e.trouble == "" || e.noExtents && g.Free() > 0
	e.mu.Unlock()
	if try && max(t.Data, t.Metadata) >= float64(p.config.ExtendAt) {
		select {
		case e.now <- struct{}{}:
		default: // it is to come already
		}
	}
}

// extendPool extends what of the thin pool is due by the report: data, metadata or both.
func (p *account) extendPool(ctx context.Context, e *extension) {
	work := context.WithoutCancel(ctx) // a change is not cut off half way
	g, err := p.vg.Report(work)
	if err == nil {
		t, _ := g.Find(p.config.ThinPool)
		at, state := float64(p.config.ExtendAt), g.States[t.Name]
		if state.Data >= at {
			err = p.extendPart(work, &g.Layout, "data", "--size", t.Size)
		}
		if state.Metadata >= at {
			err = errors.Join(err, p.extendPart(work, &g.Layout, "metadata", "--poolmetadatasize", t.MetadataSize))
		}
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != e.lastTrouble() { // said once, however often it is tried
		klog.FromContext(ctx).Error(err, "a thin pool could not be extended", "pool", p.name)
	}
	e.mu.Lock()
	e.trouble, e.noExtents = text, volume.Is(err, volume.Full)
	e.mu.Unlock()
	select {
	case <-e.now: // of a report made here; what is still due is seen at the next tick
	default:
	}
}

// extendPart extends data or metadata by the configured part of what they have, or by what the group still
// has, and at least by an extent.
func (p *account) extendPart(ctx context.Context, g *vg.Layout, what, option string, has volume.Size) error {
	by := (has / 100 * volume.Size(p.config.ExtendBy)).RoundUp(g.Extent)
	on, free, err := p.extendsOn(g, what)
	if err != nil {
		return err
	}
	by = min(max(by, g.Extent), volume.Size(free)*g.Extent)
	if by == 0 {
		return volume.Errorf(volume.Full, "volume group %q has nothing left to extend the %s of thin pool %q with (on disks whose logical blocks are no larger than its own): vgextend it", g.Name, what, p.config.ThinPool)
	}
	c := vg.Command{Name: "lvextend", Flags: []string{option, fmt.Sprintf("+%db", by)}, Of: p.config.ThinPool, On: on}
	if err := p.vg.ChangeOutside(ctx, c); err != nil {
		return volume.Errorf(volume.KindOf(err), "extend the %s of thin pool %q: %w", what, p.config.ThinPool, p.why(ctx, err, 0))
	}
	klog.FromContext(ctx).Info("extended a thin pool", "pool", p.name, "thinPool", p.config.ThinPool, "part", what, "by", by)
	return nil
}

// extensionTrouble is why the thin pool could not be extended when it was due, empty where it could.
func (p *account) extensionTrouble() string {
	if e := p.extension.Load(); e != nil {
		return e.lastTrouble()
	}
	return ""
}

func (e *extension) lastTrouble() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.trouble
}
