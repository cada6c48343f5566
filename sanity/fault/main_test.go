package fault_test

import (
	"os"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
)

func TestMain(m *testing.M) {
	if host.Watchdog(os.Args) {
		return
	}
	os.Exit(hosttest.LeaveNothing(m.Run))
}
