package csi_test

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/scratch"
)

const (
	nodeName = "sanity"
	poolName = "sanity"
)

// mode is one way in which the suite is run.
type mode struct {
	name       string
	access     string        // as csi-sanity calls it: mount or block
	fsType     volume.FSType // of mounted volumes; empty: what loam takes by default
	maxVolumes int
	nodes      int // of a cluster, whose controller is what is tested; 0: a driver of one machine

	loop      *loop.Config // its Directory is filled in; nil for a pool in memory on a machine that is not real
	directory string       // file system of that directory; empty: whatever the tests run on

	lvm *lvm.Config // its VolumeGroup and Devices are filled in
}

var modes = []mode{
	{name: "memory mount", access: "mount", maxVolumes: 3},
	{name: "memory block", access: "block"},
	{name: "router mount", access: "mount", maxVolumes: 3, nodes: 3},
	{name: "router block", access: "block", nodes: 3},
	{name: "loop own-xfs mount", access: "mount", maxVolumes: 3, loop: &loop.Config{SizeBytes: volume.GiB}},
	{name: "loop own-xfs block", access: "block", loop: &loop.Config{SizeBytes: volume.GiB}},
	{name: "loop ext4-directory mount", access: "mount", loop: &loop.Config{}, directory: "ext4"}, // no reflink
	{name: "loop xfs-directory block", access: "block", loop: &loop.Config{}, directory: "xfs"},
	{name: "loop sparse own-xfs mount of xfs", access: "mount", fsType: volume.XFS,
		loop: &loop.Config{SizeBytes: volume.GiB, Sparse: true, Space: config.Space{Overprovision: 20}}},
}

// onMachine reports whether the mode works on the real machine, which needs root.
func (m mode) onMachine() bool { return m.loop != nil || m.lvm != nil }

// sizes returns the size of the volumes, and what they grow to.
func (m mode) sizes() (size, expanded volume.Size) {
	size = max(16*volume.MiB, m.fsType.Least())
	return size, size + 8*volume.MiB
}

// open makes the pool in dir, and the machine that it is on. close takes both away again, with
// the file system that dir may have got for them.
func (m mode) open(ctx context.Context, dir string) (_ pool.Pool, _ host.Machine, close func() error, err error) {
	if m.lvm != nil {
		return m.openLVM(ctx)
	}
	if m.loop == nil {
		p := memory.New(poolName, nodeName, 4*volume.GiB)
		return p, hosttest.New(), p.Close, nil
	}
	remove := func() error { return nil }
	if m.directory != "" {
		if dir, remove, err = scratch.FileSystem(dir, m.directory, 2*volume.GiB); err != nil {
			return nil, nil, nil, err
		}
	}
	config, machine := *m.loop, host.New(host.NewRunner())
	config.Directory, config.Create = filepath.Join(dir, "pool"), true
	p, err := loop.Open(ctx, poolName, nodeName, config, machine)
	if err != nil {
		return nil, nil, nil, errors.Join(err, remove())
	}
	return p, machine, func() error { return errors.Join(p.Close(), remove()) }, nil
}
