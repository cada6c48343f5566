package reopen

import (
	"context"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// ask passes a call on to the pool if that is open.
func ask[T any](p *Pool, do func(pool.Pool) (T, error)) (answer T, err error) {
	s, err := p.enter()
	if err != nil {
		return answer, err
	}
	defer func() { p.leave(s, err) }()
	return do(s.pool)
}

// have is ask for a call that answers nothing.
func have(p *Pool, do func(pool.Pool) error) error {
	_, err := ask(p, func(q pool.Pool) (struct{}, error) { return struct{}{}, do(q) })
	return err
}

// askSnapshots is ask for a call that needs a pool.Snapshotter.
func askSnapshots[T any](p *Pool, do func(pool.Snapshotter) (T, error)) (T, error) {
	return ask(p, func(q pool.Pool) (T, error) {
		s, can := q.(pool.Snapshotter)
		if !can {
			var none T
			return none, volume.Errorf(volume.Unsupported, "pool %q cannot take snapshots", p.name)
		}
		return do(s)
	})
}

// Status implements pool.Pool.
func (p *Pool) Status(ctx context.Context) (volume.PoolStatus, error) {
	return ask(p, func(q pool.Pool) (volume.PoolStatus, error) { return q.Status(ctx) })
}

// List implements pool.Pool.
func (p *Pool) List(ctx context.Context, after string, limit int) ([]volume.Volume, error) {
	return ask(p, func(q pool.Pool) ([]volume.Volume, error) { return q.List(ctx, after, limit) })
}

// Get implements pool.Pool.
func (p *Pool) Get(ctx context.Context, id volume.ID) (volume.Volume, error) {
	return ask(p, func(q pool.Pool) (volume.Volume, error) { return q.Get(ctx, id) })
}

// Create implements pool.Pool.
func (p *Pool) Create(ctx context.Context, spec volume.Spec) (volume.Volume, error) {
	return ask(p, func(q pool.Pool) (volume.Volume, error) { return q.Create(ctx, spec) })
}

// Delete implements pool.Pool.
func (p *Pool) Delete(ctx context.Context, id volume.ID) error {
	return have(p, func(q pool.Pool) error { return q.Delete(ctx, id) })
}

// Expand implements pool.Pool.
func (p *Pool) Expand(ctx context.Context, id volume.ID, size volume.Range) (volume.Volume, error) {
	return ask(p, func(q pool.Pool) (volume.Volume, error) { return q.Expand(ctx, id, size) })
}

// Attach implements pool.Pool.
func (p *Pool) Attach(ctx context.Context, id volume.ID, readOnly bool) (string, error) {
	return ask(p, func(q pool.Pool) (string, error) { return q.Attach(ctx, id, readOnly) })
}

// Detach implements pool.Pool.
func (p *Pool) Detach(ctx context.Context, id volume.ID) error {
	return have(p, func(q pool.Pool) error { return q.Detach(ctx, id) })
}

// Mark implements pool.Pool.
func (p *Pool) Mark(ctx context.Context, id volume.ID, mark volume.Mark) error {
	return have(p, func(q pool.Pool) error { return q.Mark(ctx, id, mark) })
}

// CreateSnapshot implements pool.Snapshotter.
func (p *Pool) CreateSnapshot(ctx context.Context, spec volume.SnapshotSpec) ([]volume.Snapshot, error) {
	return askSnapshots(p, func(q pool.Snapshotter) ([]volume.Snapshot, error) { return q.CreateSnapshot(ctx, spec) })
}

// GetSnapshot implements pool.Snapshotter.
func (p *Pool) GetSnapshot(ctx context.Context, id volume.ID) (volume.Snapshot, error) {
	return askSnapshots(p, func(q pool.Snapshotter) (volume.Snapshot, error) { return q.GetSnapshot(ctx, id) })
}

// ListSnapshots implements pool.Snapshotter.
func (p *Pool) ListSnapshots(ctx context.Context, after string, limit int) ([]volume.Snapshot, error) {
	return askSnapshots(p, func(q pool.Snapshotter) ([]volume.Snapshot, error) { return q.ListSnapshots(ctx, after, limit) })
}

// DeleteSnapshot implements pool.Snapshotter.
func (p *Pool) DeleteSnapshot(ctx context.Context, id volume.ID) error {
	_, err := askSnapshots(p, func(q pool.Snapshotter) (struct{}, error) { return struct{}{}, q.DeleteSnapshot(ctx, id) })
	return err
}

// GetGroup implements pool.Snapshotter.
func (p *Pool) GetGroup(ctx context.Context, group volume.ID) ([]volume.Snapshot, error) {
	return askSnapshots(p, func(q pool.Snapshotter) ([]volume.Snapshot, error) { return q.GetGroup(ctx, group) })
}

// DeleteGroup implements pool.Snapshotter.
func (p *Pool) DeleteGroup(ctx context.Context, group volume.ID) error {
	_, err := askSnapshots(p, func(q pool.Snapshotter) (struct{}, error) { return struct{}{}, q.DeleteGroup(ctx, group) })
	return err
}
