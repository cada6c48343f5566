package host_test

import (
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/host"
)

func TestThawLeftThawsWhatIsFrozenAndLeavesTheRest(t *testing.T) {
	frozen, other := mounted(t), mounted(t)
	command(t, "fsfreeze", "--freeze", frozen)
	for range 2 {
		if err := host.ThawLeft(t.Context(), []string{other, frozen}); err != nil {
			t.Error(err)
		}
		if !writable(frozen, 8*time.Second) {
			_ = host.Thaw(frozen)
			t.Error("the file system is still frozen")
		}
	}
	if err := host.ThawLeft(t.Context(), []string{t.TempDir() + "/nothing"}); err == nil {
		t.Error("ThawLeft of a path that is not there succeeded")
	}
}
