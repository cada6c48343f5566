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

// How long the opening of a pool is waited for before the others are served without it: openPatience, and after a disk that did not
// answer in time only hastyPatience for each further one. With all disks of a machine away at once, loam is still served before the
// kubelet gives it up.
const (
	openPatience  = 20 * time.Second
	hastyPatience = 3 * time.Second
)

// patienceAfter returns how long the next pool is waited for, when the last one has taken so long.
func patienceAfter(patience, took time.Duration) time.Duration {
	if took >= patience {
		return hastyPatience
	}
	return patience
}

// openPools opens the pools one after the other. One that cannot be opened now stays unavailable, and is tried again until
// it is open. The configuration itself is another matter, and an error: two pools that cannot stand beside each other, or
// the default configuration where there is no room for what nobody has asked for.
func openPools(ctx context.Context, c settings, machine *host.Host) (_ []*reopen.Pool, err error) {
	checkState(ctx, c.State)
	var kept []*reopen.Pool
	defer func() {
		if err != nil {
			err = errors.Join(err, closePools(kept))
		}
	}()
	together := &together{pools: c.Pools, on: make([]shared, len(c.Pools))}
	patience := openPatience
	for i, one := range c.Pools {
		p := reopen.New(one.Name, func(ctx context.Context) (pool.Pool, error) {
			return together.opened(i, func() (pool.Pool, error) { return one.Open(ctx, one.Name, c.on(machine)) })
		})
		kept = append(kept, p)
		began := time.Now()
		failed := p.Start(klog.NewContext(ctx, klog.FromContext(ctx).WithValues("where", one.Where())), patience)
		patience = patienceAfter(patience, time.Since(began))
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
	pools []poolSettings
	mu    sync.Mutex
	on    []shared // what each of them shares while it is open; zero otherwise, and for one that may stand beside any
}

// shared is what pool.Settings.Shares returned of an open pool.
type shared struct {
	device   uint64
	promises bool
}

// errApart is in the error of a pool that cannot stand beside another one.
var errApart = errors.New("loam serves them only apart")

// opened opens pool i with open, and refuses it where it cannot stand beside one that is open. That one's disk is not looked at: it may
// have died since.
func (t *together) opened(i int, open func() (pool.Pool, error)) (pool.Pool, error) {
	t.mu.Lock()
	t.on[i] = shared{} // it was lost, where it was open before
	t.mu.Unlock()
	p, err := open()
	if err != nil {
		return nil, err
	}
	if err := t.check(i); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// check refuses a pool that promises more than it has taken beside another one on the same file system. Each would count as its
// own what the other has promised and not yet written. The kind of its error is Invalid.
func (t *together) check(i int) error {
	device, promises, err := t.pools[i].Shares()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for j, other := range t.on {
		if j != i && device != 0 && other.device == device && (promises || other.promises) {
			return volume.Errorf(volume.Invalid, "pools %q and %q are on one file system and not both preallocated, so each would promise what the other has promised: give one of them a size, or a file system of its own; %w", t.pools[j].Name, t.pools[i].Name, errApart)
		}
	}
	t.on[i] = shared{device, promises}
	return nil
}

func closePools(pools []*reopen.Pool) error {
	var errs []error
	for _, p := range pools {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
