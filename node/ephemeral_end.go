package node

import (
	"context"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// undeleted is since when inline volumes could not be deleted, by their handles. A process that starts anew begins anew.
type undeleted struct {
	mu    sync.Mutex
	since map[string]time.Time
}

// end detaches and deletes an inline volume that is mounted nowhere any more. Where its pool cannot do that, the call fails, and the
// orchestrator tries again, until three times the patience is over. Then the pod goes, for it waits for nothing else, and the
// volume is left in the pool: nobody asks for it again, and it is in the pool's list, marked as an inline one.
func (s *Server) end(ctx context.Context, handle string, l leaving) error {
	err := l.silent
	if err == nil {
		_, err = within(ctx, s, poolOf(handle), 3*s.patience, func(ctx context.Context) (any, error) { return nil, deleteEphemeral(ctx, l.pool, l.volume.ID) })
	} else if failed := s.detach(ctx, l); failed != nil {
		return failed
	}
	if err == nil || volume.Is(err, volume.NotFound) {
		s.undeleted.forget(handle)
		return nil
	}
	if volume.Is(err, volume.Busy) || !s.undeleted.longer(handle, 3*s.patience) {
		return err
	}
	if l.silent == nil {
		if failed := s.detach(ctx, l); failed != nil {
			return failed
		}
	}
	s.undeleted.forget(handle)
	klog.FromContext(ctx).Error(err, "an inline volume is left in its pool, and its pod goes: delete it when the pool can be used again", "volume_id", handle, "pool", l.volume.ID.Pool, "name", l.volume.ID.Name)
	return nil
}

// longer reports whether a volume could not be deleted for so long.
func (u *undeleted) longer(handle string, patience time.Duration) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.since == nil {
		u.since = map[string]time.Time{}
	}
	first, known := u.since[handle]
	if !known {
		u.since[handle] = time.Now()
	}
	return known && time.Since(first) > patience
}

func (u *undeleted) forget(handle string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.since, handle)
}
