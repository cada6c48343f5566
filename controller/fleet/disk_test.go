package fleet_test

import (
	"context"
	"sync/atomic"

	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
)

// disk is a pool that dies and comes back.
type disk struct {
	*memory.Pool
	dead atomic.Bool
}

func (d *disk) err() error {
	if d.dead.Load() {
		return volume.Errorf(volume.Unavailable, "pool %q is not available: its disk is away", d.Name())
	}
	return nil
}

func (d *disk) Status(ctx context.Context) (volume.PoolStatus, error) {
	if err := d.err(); err != nil {
		return volume.PoolStatus{}, err
	}
	return d.Pool.Status(ctx)
}

func (d *disk) List(ctx context.Context, after string, limit int) ([]volume.Volume, error) {
	if err := d.err(); err != nil {
		return nil, err
	}
	return d.Pool.List(ctx, after, limit)
}

func (d *disk) ListSnapshots(ctx context.Context, after string, limit int) ([]volume.Snapshot, error) {
	if err := d.err(); err != nil {
		return nil, err
	}
	return d.Pool.ListSnapshots(ctx, after, limit)
}

func (d *disk) Get(ctx context.Context, id volume.ID) (volume.Volume, error) {
	if err := d.err(); err != nil {
		return volume.Volume{}, err
	}
	return d.Pool.Get(ctx, id)
}

func (d *disk) Create(ctx context.Context, spec volume.Spec) (volume.Volume, error) {
	if err := d.err(); err != nil {
		return volume.Volume{}, err
	}
	return d.Pool.Create(ctx, spec)
}

// dies takes a disk of the machine away, and dies(pool, false) brings it back.
func (m *machine) dies(pool string, dead bool) {
	for _, p := range m.pools.All() {
		if p.Name() == pool {
			p.(*disk).dead.Store(dead)
		}
	}
}
