// Package restart_test kills and restarts the real loam while a volume of it is at work.
package restart_test

import (
	"os"
	"testing"

	"github.com/loam-storage/loam/driver/host/hosttest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.LeaveNothing(m.Run)) }
