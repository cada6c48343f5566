package host

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// writePatience is how long TakesWrites waits for the kernel. Where nothing is frozen it answers in microseconds.
const writePatience = 200 * time.Millisecond

// writeProbes are the calls of TakesWrites that wait for the kernel.
type writeProbes struct {
	mu      sync.Mutex
	waiting map[string]bool // by directory
}

// TakesWrites reports whether the file system mounted at a directory takes writes at this moment; it does not while it is frozen.
// Nothing is written: what is to be removed has a name that no file can have, which the kernel looks at only after it has waited for
// a freeze to end (mnt_want_write in unlinkat). A call that waits cannot be ended, so there is one for each directory.
func (h *Host) TakesWrites(ctx context.Context, dir string) bool {
	h.writing.mu.Lock()
	defer h.writing.mu.Unlock()
	if h.writing.waiting[dir] {
		return false
	}
	answered := make(chan struct{})
	go func() {
		_ = unix.Unlinkat(unix.AT_FDCWD, filepath.Join(dir, strings.Repeat("x", unix.NAME_MAX+1)), 0)
		close(answered)
	}()
	late := time.NewTimer(writePatience)
	defer late.Stop()
	select {
	case <-answered:
		return true
	case <-late.C:
	case <-ctx.Done():
	}
	h.writing.waiting[dir] = true
	go func() {
		<-answered
		h.writing.mu.Lock()
		defer h.writing.mu.Unlock()
		delete(h.writing.waiting, dir)
	}()
	return false
}
