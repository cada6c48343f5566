package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/controller"
	"github.com/loam-storage/loam/driver"
	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/pool/reopen"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/node"
)

const defaultEndpoint = "unix:///run/loam/csi.sock"

func serveCommand() *cobra.Command {
	var configPath, state, endpoint, httpAddress string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve all CSI services for the pools of this machine on one socket",
		Long: `Serve all CSI services for the pools of this machine on one socket, until SIGTERM or SIGINT.
Calls that are at work then end before the process does. What is mounted stays mounted.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			parsed, err := readConfig(configPath)
			if err != nil {
				return err
			}
			parsed.State, parsed.Default = state, configPath == ""
			return serve(klog.NewContext(c.Context(), klog.Background()), parsed, endpointOf(endpoint, defaultEndpoint), httpAddress)
		},
	}
	configFlag(c, &configPath)
	stateFlag(c, &state)
	c.Flags().StringVar(&endpoint, "endpoint", "", "socket to serve on (default: $CSI_ENDPOINT, else "+defaultEndpoint+")")
	c.Flags().StringVar(&httpAddress, "http", "", "host:port to serve /metrics, /healthz and /readyz on; off where it is not given")
	return c
}

// endpointOf returns the socket that a flag names, else $CSI_ENDPOINT (spec, "Environment Variables"), else the usual one.
func endpointOf(flag, usual string) string { return cmp.Or(flag, os.Getenv("CSI_ENDPOINT"), usual) }

func configFlag(c *cobra.Command, path *string) {
	c.Flags().StringVar(path, "config", "", "configuration file (default: one pool of 50Gi in /var/lib/loam/default)")
}

func stateFlag(c *cobra.Command, path *string) {
	c.Flags().StringVar(path, "state-dir", identity.DefaultState, "directory in which this machine remembers which pools it has opened; on none of their disks")
}

// serve serves until ctx ends.
func serve(ctx context.Context, c settings, endpoint, httpAddress string) error {
	r, err := start(ctx, c, driver.Config{Endpoint: endpoint, HTTPAddress: httpAddress})
	if err != nil {
		return err
	}
	return errors.Join(r.server.Serve(ctx), r.close())
}

// running is a driver that is wired up, with its socket claimed.
type running struct {
	machine *host.Host
	pools   *pool.Set
	kept    []*reopen.Pool // the same pools
	server  *driver.Server

	usable atomic.Int64 // when a pool was last seen to be so, in seconds of Unix time
}

// start opens the pools, puts the services over them, and claims the socket that serving names. The pools
// come first: who reaches the socket reaches all of them, also those that cannot be opened now, which say so of each of
// their volumes.
func start(ctx context.Context, c settings, serving driver.Config) (_ *running, err error) {
	if os.Geteuid() != 0 {
		return nil, volume.Errorf(volume.Invalid, "loam needs root, for loop devices and mounts: run it with sudo")
	}
	r := &running{machine: host.New(host.NewRunner())}
	if r.kept, err = openPools(ctx, c, r.machine); err != nil {
		return nil, err
	}
	if r.pools, err = setOf(c.Node, r.kept); err != nil {
		return nil, errors.Join(err, closePools(r.kept))
	}
	r.usable.Store(time.Now().Unix()) // those that are open have just been opened
	control := controller.New(controller.Config{Pools: r.pools, MaxVolumes: c.MaxVolumes})
	serving.Version = version()
	serving.Controller, serving.Group, serving.Inventory = control, control, controller.NewInventory(r.pools)
	serving.Node = node.New(node.Config{Pools: r.pools, Machine: r.machine, MaxVolumes: c.MaxVolumes, Ephemeral: c.limits()})
	serving.Ready, serving.Pools, serving.Beside = r.ready, r.status, r.unavailable
	if r.server, err = driver.New(serving); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// close closes the pools. Volumes that are attached stay so.
func (r *running) close() error { return closePools(r.kept) }

// status asks all pools. One that cannot say anything is in the answer as not healthy.
func (r *running) status(ctx context.Context) ([]volume.PoolStatus, error) {
	var all []volume.PoolStatus
	var errs []error
	for _, p := range r.pools.All() {
		status, err := p.Status(ctx)
		if err != nil {
			status = volume.PoolStatus{Pool: p.Name(), Message: err.Error()}
			errs = append(errs, err)
		}
		all = append(all, status)
	}
	return all, errors.Join(errs...)
}

// unavailable returns why pools are not open, an error for each that is not.
func (r *running) unavailable() (missing []error) {
	for _, p := range r.kept {
		if err := p.Missing(); err != nil {
			missing = append(missing, err)
		}
	}
	return missing
}

// usableFor is for how long a pool counts as usable that could be used. The kubelet asks every few seconds, and to
// look at a volume group takes a process.
const usableFor = 5 * time.Minute

// ready says whether any pool can be used. A dead disk is told by the metrics; it is no reason to
// have an orchestrator restart what serves the other disks.
func (r *running) ready(ctx context.Context) error {
	if missing := r.unavailable(); len(missing) > 0 && len(missing) == len(r.kept) {
		return volume.Errorf(volume.Unavailable, "no pool can be used: %w", errors.Join(missing...))
	}
	if time.Since(time.Unix(r.usable.Load(), 0)) < usableFor {
		return nil
	}
	var errs []error
	for _, p := range r.pools.All() {
		_, err := p.Status(ctx)
		if err == nil {
			r.usable.Store(time.Now().Unix())
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("no pool can be used: %w", errors.Join(errs...))
}
