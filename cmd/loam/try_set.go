package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver"
	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// set is where a life is played: a driver on its socket, a connection to it, and the pools, to see
// what the driver did to the disk.
type set struct {
	endpoint   string
	pools      *pool.Set
	machine    host.Machine
	connection *grpc.ClientConn
	nodeID     string
	undo       []func() error
}

// configName is the configuration of a new pool, in the directory of its try.
const configName = "loam.yaml"

// embedded reports whether the try makes a pool of its own.
func (t trial) embedded() bool { return t.config == "" && t.pool == "" && t.endpoint == "" }

// set starts a driver, or connects to the one that serves.
func (t trial) set(ctx context.Context, dir string, size volume.Size) (*set, error) {
	c, err := t.configFor(dir, size)
	if err != nil {
		return nil, err
	}
	s := &set{endpoint: t.endpoint}
	if s.endpoint == "" {
		s.endpoint = "unix://" + filepath.Join(dir, "csi.sock")
		err = s.start(context.WithoutCancel(ctx), c)
	} else {
		err = s.look(ctx, c)
	}
	if err == nil {
		err = s.connect(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// configFor returns the configuration of the try, with the one pool that is tried.
func (t trial) configFor(dir string, size volume.Size) (settings, error) {
	if t.embedded() {
		path := filepath.Join(dir, configName)
		if t.remove != "" {
			return throwaway(path)
		}
		// The volume grows by half, and is then there three times over, and once as a snapshot.
		bytes := max(2*volume.GiB, 8*size).RoundUp(volume.MiB)
		if err := os.WriteFile(path, []byte(configOf("try", filepath.Join(dir, "pool"), bytes)), 0o600); err != nil {
			return settings{}, err
		}
		return throwaway(path)
	}
	c, err := readConfig(t.config)
	if err != nil {
		return settings{}, err
	}
	c.State = t.state
	i := slices.IndexFunc(c.Pools, func(p poolSettings) bool { return t.pool == "" || p.Name == t.pool })
	if i < 0 {
		return settings{}, volume.Errorf(volume.Invalid, "pool %q is not in the configuration", t.pool)
	}
	c.Pools = c.Pools[i : i+1]
	return c, nil
}

// throwaway reads the configuration of a pool that is made to be removed: the machine remembers nothing of it, and it may
// be on any file system.
func throwaway(path string) (settings, error) {
	c, err := readConfig(path)
	c.Throwaway = true
	return c, err
}

// start starts a driver in this process. Unless asked with -v it logs nothing: the steps say what
// happens.
func (s *set) start(ctx context.Context, c settings) error {
	logger := klog.Logger{}
	if klog.V(1).Enabled() {
		logger = klog.Background()
	}
	ctx, stop := context.WithCancel(klog.NewContext(ctx, logger))
	c.MustOpen = true
	r, err := start(ctx, c, driver.Config{Endpoint: s.endpoint})
	if err != nil {
		stop()
		return err
	}
	s.pools, s.machine = r.pools, r.machine
	ended := make(chan error, 1)
	go func() { ended <- r.server.Serve(ctx) }()
	s.later(func() error {
		stop()
		return errors.Join(<-ended, r.close())
	})
	return nil
}

// look opens the pools of a driver that serves elsewhere.
func (s *set) look(ctx context.Context, c settings) error {
	machine := host.New(host.NewRunner())
	p, err := c.Pools[0].Inspect(ctx, c.Pools[0].Name, c.on(machine))
	if err != nil {
		return err
	}
	s.later(p.Close)
	s.machine = machine
	s.pools, err = pool.NewSet(c.Node, p)
	return err
}

// connect connects to the driver and asks it which node it is.
func (s *set) connect(ctx context.Context) (err error) {
	target := s.endpoint
	if !strings.HasPrefix(target, "unix:") {
		target = "unix:" + target
	}
	if s.connection, err = grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		return err
	}
	s.later(s.connection.Close)
	info, err := csi.NewNodeClient(s.connection).NodeGetInfo(ctx, &csi.NodeGetInfoRequest{})
	if err != nil {
		return fmt.Errorf("the driver on %s: %w", s.endpoint, err)
	}
	s.nodeID = info.GetNodeId()
	if s.nodeID != s.pools.Node() {
		return volume.Errorf(volume.Invalid, "the driver on %s is node %q and the configuration says %q: give the --config that it serves", s.endpoint, s.nodeID, s.pools.Node())
	}
	return nil
}

// life returns a life of a volume that is named after the directory.
func (s *set) life(out io.Writer, dir string, fsType volume.FSType, size volume.Size) *life {
	return &life{
		controller: csi.NewControllerClient(s.connection),
		node:       csi.NewNodeClient(s.connection),
		pools:      s.pools, machine: s.machine, out: out,
		pool: s.pools.All()[0].Name(), nodeID: s.nodeID, fsType: fsType, size: size,
		name: filepath.Base(dir), dir: dir,
		capability: &csi.VolumeCapability{
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: string(fsType)}},
		},
	}
}

func (s *set) later(undo func() error) { s.undo = append(s.undo, undo) }

// close ends what was started, the newest first.
func (s *set) close() error {
	var errs []error
	for _, undo := range slices.Backward(s.undo) {
		errs = append(errs, undo())
	}
	return errors.Join(errs...)
}
