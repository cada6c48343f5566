package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/loam-storage/loam/driver/host/hosttest"
)

func TestMain(m *testing.M) {
	if os.Getenv(mainVariable) != "" {
		main()
		return
	}
	os.Exit(hosttest.LeaveNothing(m.Run))
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for loop devices and mounts")
	}
}

// growsExt4 reports whether the kernel lets this process grow a mounted ext4 (CAP_SYS_RESOURCE).
func growsExt4(t *testing.T) bool {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "CapEff:")
	set, err := strconv.ParseUint(strings.Fields(after)[0], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	const sysResource = 24
	return set&(1<<sysResource) != 0
}

// loamSays runs a subcommand and returns what it prints. Unless told otherwise, the machine remembers nothing.
func loamSays(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	c := loam()
	if verb, _, err := c.Find(args); err == nil && verb.Flags().Lookup("state-dir") != nil && !slices.Contains(args, "--state-dir") {
		args = append(slices.Clone(args), "--state-dir", t.TempDir())
	}
	c.SetArgs(args)
	c.SetOut(&out)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

// serving runs serve until the test ends, and returns a connection to it once it is ready.
func serving(t *testing.T, c settings, endpoint string) (connection *grpc.ClientConn, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, c, endpoint, "") }()
	connection, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	probe := make(chan error, 1)
	go func() {
		answer, err := csi.NewIdentityClient(connection).Probe(ctx, &csi.ProbeRequest{}, grpc.WaitForReady(true))
		if err == nil && !answer.GetReady().GetValue() {
			err = errors.New("it serves and is not ready")
		}
		probe <- err
	}()
	select {
	case err := <-probe:
		if err != nil {
			t.Fatal(err)
		}
	case err := <-ended:
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := errors.Join(<-ended, connection.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return connection, stop
}

func TestVersionIsNeverEmpty(t *testing.T) {
	says, err := loamSays(t, "version")
	if err != nil || !strings.HasPrefix(says, "loam "+version()+" (go") || version() == "" {
		t.Errorf("%q, %v", says, err)
	}
}
