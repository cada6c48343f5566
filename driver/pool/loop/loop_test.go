package loop_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/pool/pooltest"
	"github.com/loam-storage/loam/driver/volume"
)

func TestMain(m *testing.M) {
	os.Exit(hosttest.LeaveNothing(m.Run))
}

const node = "n1"

// kinds are the pools that the contract is run against: each way to keep blocks, on each file system.
var kinds = []struct {
	name   string
	fsType string // of the directory; empty for a pool with its own file system
	config loop.Config
	slack  volume.Size
}{
	{name: "own file system", config: loop.Config{SizeBytes: 512 * volume.MiB}, slack: 3 * volume.MiB},
	{name: "own file system, sparse", config: loop.Config{SizeBytes: 512 * volume.MiB, Sparse: true}, slack: 3 * volume.MiB},
	{name: "xfs directory", fsType: "xfs", slack: 3 * volume.MiB},
	{name: "ext4 directory, which has no reflink", fsType: "ext4", slack: 3 * volume.MiB},
	// btrfs takes and gives back what it needs for itself in pieces of 8 MiB.
	{name: "btrfs directory", fsType: "btrfs", slack: 17 * volume.MiB},
}

func TestLoopPoolKeepsTheContract(t *testing.T) {
	hosttest.NeedsRoot(t)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			var p *loop.Pool // the one that is open now
			c := k.config
			pooltest.Run(t, pooltest.Options{
				Node: node, Slack: k.slack, Damages: damages(&c), Away: func(t *testing.T) func() { return away(t, c) },
				New: func(t *testing.T) pool.Pool {
					c.Directory = t.TempDir()
					if k.fsType != "" {
						mountNew(t, k.fsType, c.Directory)
					}
					p = open(t, c)
					t.Cleanup(func() { closeAll(t, p) })
					return p
				},
				Reopen: func(t *testing.T, _ pool.Pool) pool.Pool {
					if err := p.Close(); err != nil {
						t.Fatal(err)
					}
					p = open(t, c)
					return p
				},
			})
		})
	}
}

// mountNew mounts a new file system of the given type on a directory until the test ends.
func mountNew(t *testing.T, fsType, dir string) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "disk")
	run(t, "truncate", "--size=640M", image)
	run(t, "mkfs."+fsType, "-q", image)
	run(t, "mount", "-o", "loop", image, dir)
	t.Cleanup(func() { run(t, "umount", dir) })
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func open(t *testing.T, c loop.Config) *loop.Pool {
	t.Helper()
	c.Create = true
	p, err := loop.Open(t.Context(), "fast", node, c, host.New(host.NewRunner()))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// closeAll detaches what a failed test left attached, and closes the pool.
func closeAll(t *testing.T, p *loop.Pool) {
	t.Helper()
	ctx := context.Background() // the test's has ended
	volumes, err := p.List(ctx, "", 0)
	for _, v := range volumes {
		err = errors.Join(err, p.Detach(ctx, v.ID))
	}
	if err := errors.Join(err, p.Close()); err != nil {
		t.Error(err)
	}
}
