package pool

import (
	"context"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// HeldTimes remembers how long a pool has held the writers of volumes for snapshots and clones. It may be used by several at
// once, and the zero value is ready.
type HeldTimes struct {
	mu    sync.Mutex
	times volume.Held
}

// Note adds one time and says it in the log, with further keys and values.
func (h *HeldTimes) Note(ctx context.Context, pool string, took time.Duration, keysAndValues ...any) {
	h.mu.Lock()
	h.times.Add(took)
	h.mu.Unlock()
	klog.FromContext(ctx).WithCallDepth(1).Info("file systems were frozen for a copy", append([]any{"pool", pool, "seconds", took.Seconds()}, keysAndValues...)...)
}

// Read returns all that was noted.
func (h *HeldTimes) Read() volume.Held {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.times
}
