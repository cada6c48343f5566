package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/reopen"
	"github.com/loam-storage/loam/driver/volume"
)

// openPatience is how long the opening of a pool is waited for before the others are served without it.
const openPatience = 20 * time.Second

// openPools opens the pools one after the other. One that cannot be opened now stays unavailable, and is tried again until
// it is open. The configuration itself is another matter, and an error: two pools that cannot stand beside each other, or
// the default configuration where there is no room for what nobody has asked for.
func openPools(ctx context.Context, c config, machine *host.Host) (_ []*reopen.Pool, err error) {
	checkState(ctx, c.State)
	var kept []*reopen.Pool
	defer func() {
		if err != nil {
			err = errors.Join(err, closePools(kept))
		}
	}()
	together := &together{pools: c.Pools, open: make([]bool, len(c.Pools))}
	for i, one := range c.Pools {
		one = one.remembered(c.State)
		p := reopen.New(one.Name, func(ctx context.Context) (pool.Pool, error) {
			return together.opened(i, func() (pool.Pool, error) { return one.open(ctx, c.Node, machine) })
		})
		kept = append(kept, p)
		failed := p.Start(klog.NewContext(ctx, klog.FromContext(ctx).WithValues("where", one.where())), openPatience)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case failed == nil:
		case c.MustOpen, errors.Is(failed, errApart):
			return nil, failed
		case c.Default && volume.Is(failed, volume.Full):
			return nil, fmt.Errorf("%w; this is the default configuration: give --config with a file that asks for less", failed)
		}
	}
	return kept, nil
}

// checkState says in the log where what the machine remembers does not last.
func checkState(ctx context.Context, state string) {
	if state == "" {
		return
	}
	logger := klog.FromContext(ctx).WithValues("directory", state)
	switch fsType, err := host.Volatile(state); {
	case err != nil:
		logger.Error(err, "what this machine remembers of its pools cannot be looked at")
	case fsType != "":
		logger.Info("what this machine remembers of its pools does not outlive it or the container: mount a directory of the machine there", "fileSystem", fsType)
	}
}

// setOf returns the pools as the services take them.
func setOf(node string, kept []*reopen.Pool) (*pool.Set, error) {
	pools := make([]pool.Pool, len(kept))
	for i, p := range kept {
		pools[i] = p
	}
	return pool.NewSet(node, pools...)
}

// together knows which pools are open, for some cannot stand beside each other, and that shows only where both are.
type together struct {
	pools []poolConfig
	mu    sync.Mutex
	open  []bool
}

// errApart is in the error of a pool that cannot stand beside another one.
var errApart = errors.New("loam serves them only apart")

// opened opens pool i with open, and refuses it where it cannot stand beside one that is open.
func (t *together) opened(i int, open func() (pool.Pool, error)) (pool.Pool, error) {
	t.note(i, false) // it was lost, where it was open before
	p, err := open()
	if err != nil {
		return nil, err
	}
	if err := t.check(i); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (t *together) note(i int, open bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open[i] = open
}

func (t *together) check(i int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for j, other := range t.pools {
		if j == i || !t.open[j] {
			continue
		}
		if err := checkPromises(t.pools[i], other); err != nil {
			return err
		}
	}
	t.open[i] = true
	return nil
}

// checkPromises refuses a sparse pool beside another one on the same file system. Each would count as its
// own what the other has promised and not yet written. The kind of its error is Invalid.
func checkPromises(p, other poolConfig) error {
	if p.isLVM() || other.isLVM() || p.Loop.SizeBytes > 0 || other.Loop.SizeBytes > 0 || (!p.Loop.Sparse && !other.Loop.Sparse) {
		return nil
	}
	one, _, err := host.Identify(p.Loop.Directory)
	if err != nil {
		return err
	}
	two, _, err := host.Identify(other.Loop.Directory)
	if err != nil {
		return err
	}
	if one.Device == two.Device {
		return volume.Errorf(volume.Invalid, "pools %q and %q are on one file system and not both preallocated, so each would promise what the other has promised: give one of them a size, or a file system of its own; %w", other.Name, p.Name, errApart)
	}
	return nil
}

func closePools(pools []*reopen.Pool) error {
	var errs []error
	for _, p := range pools {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
