package host_test

import (
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/volume"
)

// The fake that the other packages are tested with passes the same suite.
func TestHostBehavesAsTheFakeDoes(t *testing.T) {
	hosttest.NeedsRoot(t)
	hosttest.TestMachine(t,
		func(*testing.T) host.Machine { return host.New(host.NewRunner()) },
		func(t *testing.T, size volume.Size) string { return device(t, size) })
}
