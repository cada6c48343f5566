package crash_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/loam-storage/loam/sanity/scratch"
)

// sweep takes away what a test that failed has left of processes, mounts and devices.
func (r *run) sweep(t *testing.T) {
	t.Helper()
	if r.driver != nil {
		_ = r.driver.killed(true) // an error: it had ended
	}
	err := until(func() error {
		ids, err := descendants(r.dir)
		for _, id := range ids {
			_ = syscall.Kill(id, syscall.SIGKILL)
		}
		if err == nil && len(ids) > 0 {
			err = fmt.Errorf("processes %v were killed and go on", ids)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := scratch.Sweep(r.dir); err != nil {
		t.Error(err)
	}
}
