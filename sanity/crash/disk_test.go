package crash_test

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/scratch"
)

const diskBytes = 3 * volume.GiB

// What scratch.FileSystem makes: an ext4, which cannot share blocks, for the plain pool.
func diskPath(dir string) string  { return filepath.Join(dir, "ext4.image") }
func diskMount(dir string) string { return filepath.Join(dir, "ext4") }

// makeDisk mounts the disk that the plain pool will be on until the test ends.
func (r *run) makeDisk(t *testing.T) {
	t.Helper()
	_, remove, err := scratch.FileSystem(r.dir, "ext4", diskBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remove(); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	r.model.disk = true
}

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
