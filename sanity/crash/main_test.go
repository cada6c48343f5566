package crash_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/loam-storage/loam/driver/host/hosttest"
)

var (
	operations = flag.Int("crash.operations", 500, "how many calls to make, most of which are cut off")
	seed       = flag.Uint64("crash.seed", 0, "what the calls are chosen by; 0: something new")
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(serverVariable); dir != "" {
		if err := beDriver(dir); err != nil {
			fmt.Fprintln(os.Stderr, "crash test's driver:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(hosttest.LeaveNothing(m.Run))
}
