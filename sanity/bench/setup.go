package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/serve"
)

// bench is the place where both sides work: one xfs with reflink, on which loam has its pool beside
// the directory of the bare commands, and the driver on a socket of its own.
type bench struct {
	settings
	context.Context
	controller csi.ControllerClient
	node       csi.NodeClient
	pool       *loop.Pool

	dir    string // everything is below it
	bare   string // where the bare commands work, on the same file system as the pool
	device string // that the file system is on

	undo []func() error
}

const (
	nodeName = "bench"
	poolName = "bench"
	// filesystemBytes is the size of the file system that both sides share. The file behind it is
	// sparse: it takes what is written.
	filesystemBytes = 64 * volume.GiB
)

func prepare(ctx context.Context, parent string, s settings) (b *bench, err error) {
	b = &bench{settings: s, Context: ctx}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.dir, err = os.MkdirTemp(parent, "loam-bench-"); err != nil {
		return b, err
	}
	b.later(func() error { return os.Remove(b.dir) })
	if err := b.fileSystem(); err != nil {
		return b, err
	}
	b.bare = filepath.Join(b.dir, "fs", "bare")
	if err := os.Mkdir(b.bare, 0o700); err != nil {
		return b, err
	}
	machine := host.New(host.NewRunner())
	b.pool, err = loop.Open(ctx, poolName, nodeName, loop.Config{Directory: filepath.Join(b.dir, "fs", "pool"), Create: true}, machine)
	if err != nil {
		return b, err
	}
	b.later(b.pool.Close)
	set, err := pool.NewSet(nodeName, b.pool)
	if err != nil {
		return b, err
	}
	return b, b.serve(set, machine)
}

// fileSystem makes and mounts the xfs that both sides share.
func (b *bench) fileSystem() error {
	image, mountPoint := filepath.Join(b.dir, "fs.img"), filepath.Join(b.dir, "fs")
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	b.later(func() error { return os.Remove(image) })
	if err := errors.Join(f.Truncate(int64(filesystemBytes)), f.Close(), os.Mkdir(mountPoint, 0o700)); err != nil {
		return err
	}
	b.later(func() error { return os.Remove(mountPoint) })
	if _, err := command("mkfs.xfs", "-q", "-m", "reflink=1", image); err != nil {
		return err
	}
	device, err := command("losetup", "--find", "--show", "--direct-io=on", image)
	if err != nil {
		return err
	}
	b.device = device
	b.later(func() error { _, err := command("losetup", "--detach", device); return err })
	if _, err := command("mount", device, mountPoint); err != nil {
		return err
	}
	b.later(func() error { _, err := command("umount", mountPoint); return err })
	return nil
}

// serve starts the driver and connects to it. It has no log: writing a line to a terminal is not what
// is measured.
func (b *bench) serve(set *pool.Set, machine *host.Host) error {
	d, err := serve.Start(klog.NewContext(context.WithoutCancel(b.Context), klog.Logger{}), serve.Config{
		Socket: filepath.Join(b.dir, "csi.sock"), Pools: set, Machine: machine,
	})
	if err != nil {
		return err
	}
	b.later(d.Stop)
	b.controller, b.node = d.Controller, d.Node
	return nil
}

// later remembers how to take away what was just made.
func (b *bench) later(undo func() error) { b.undo = append(b.undo, undo) }

// close takes away everything, the newest first.
func (b *bench) close() error {
	var errs []error
	for i := len(b.undo) - 1; i >= 0; i-- {
		errs = append(errs, b.undo[i]())
	}
	return errors.Join(errs...)
}

// command runs a bare command and returns what it printed.
func command(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// mountAccess and blockAccess are the two ways to use a volume.
func mountAccess(fsType volume.FSType) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: string(fsType)}},
	}
}

func blockAccess() *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
	}
}
