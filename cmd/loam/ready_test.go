package main

import (
	"context"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
)

// askedPool counts how often it is asked for its status, and fails when told.
type askedPool struct {
	*memory.Pool
	asked int
	err   error
}

func (p *askedPool) Status(ctx context.Context) (volume.PoolStatus, error) {
	p.asked++
	if p.err != nil {
		return volume.PoolStatus{}, p.err
	}
	return p.Pool.Status(ctx)
}

// A pool is looked at seldom while it can be used, and each time while it cannot.
func TestReadinessCostsNothingWhileAPoolCanBeUsed(t *testing.T) {
	a, b := &askedPool{Pool: memory.New("a", "n1", volume.GiB)}, &askedPool{Pool: memory.New("b", "n1", volume.GiB)}
	pools, err := pool.NewSet("n1", a, b)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{pools: pools}
	r.usable.Store(time.Now().Unix())
	ask := func(what string, ready bool, askedA, askedB int) {
		t.Helper()
		if err := r.ready(t.Context()); (err == nil) != ready || a.asked != askedA || b.asked != askedB {
			t.Errorf("%s: %v, a was asked %d times, b %d times", what, err, a.asked, b.asked)
		}
	}
	late := func() { r.usable.Store(time.Now().Add(-usableFor - time.Second).Unix()) }
	ask("just opened", true, 0, 0)
	late()
	ask("later", true, 1, 0)
	ask("at once again", true, 1, 0)
	a.err = volume.Errorf(volume.Unavailable, "the disk is gone")
	late()
	ask("with one pool left", true, 2, 1)
	b.err = a.err
	late()
	ask("with none left", false, 3, 2)
	ask("with none left, again", false, 4, 3)
	b.err = nil
	ask("with one back", true, 5, 4)
	ask("with one back, again", true, 5, 4)
}
