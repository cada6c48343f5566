package crash_test

import (
	"os"
	"testing"

	"github.com/loam-storage/loam/sanity/scratch"
)

// lvmOperations is how many calls TestCrashOverLVM makes, which cost seconds each in an emulated machine.
// With FULL=yes it makes as many as TestCrash.
const lvmOperations = 30

// TestCrashOverLVM is TestCrash over linear, striped, raid1 and thin volumes of one volume group.
func TestCrashOverLVM(t *testing.T) {
	scratch.Disks(t, lvmDisks)
	makeGroup(t)
	r := newRun(t, onLVM{})
	n := lvmOperations
	if os.Getenv("FULL") != "" {
		n = *operations
	}
	r.crash(t, n)
}
