package crash_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/sanity/serve"
)

// serverVariable makes a process of this binary the driver over the pools in the directory that it
// names. Every process that the driver starts inherits it, which is how one that was left is found.
const serverVariable = "LOAM_CRASH_SERVER"

const nodeName = "n1"

func socketPath(dir string) string { return filepath.Join(dir, "csi.sock") }

// beDriver does what `loam serve` does. It also ends when its standard input does, for then the test that
// started it is gone.
func beDriver(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	machine := host.New(host.NewRunner())
	var open []pool.Pool
	where := placeOfDriver()
	for _, name := range where.pools() {
		p, err := where.open(ctx, dir, name, machine)
		if err != nil {
			return errors.Join(err, closeAll(open))
		}
		open = append(open, p)
	}
	set, err := pool.NewSet(nodeName, open...)
	if err != nil {
		return err
	}
	served, err := serve.Start(ctx, serve.Config{Socket: socketPath(dir), Pools: set, Machine: machine})
	if err != nil {
		return errors.Join(err, closeAll(open))
	}
	fmt.Println("ready")
	<-ctx.Done()
	return errors.Join(served.Stop(), closeAll(open))
}

func closeAll(open []pool.Pool) error {
	var errs []error
	for _, p := range open {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
