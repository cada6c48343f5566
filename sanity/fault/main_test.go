package fault_test

import (
	"os"
	"testing"

	"github.com/loam-storage/loam/driver/host/hosttest"
)

func TestMain(m *testing.M) {
	os.Exit(hosttest.LeaveNothing(m.Run))
}
