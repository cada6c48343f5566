package csi_test

import (
	"context"
	"errors"
	"testing"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/sanity/scratch"
)

const (
	groupName = "loamcsi"
	lvmDisks  = 2
)

// lvmModes make a volume group of blank disks, one mode after the other.
var lvmModes = []mode{
	{name: "lvm linear mount", access: "mount", maxVolumes: 3, lvm: &lvm.Config{}},
	{name: "lvm linear block", access: "block", lvm: &lvm.Config{}},
	{name: "lvm thin mount", access: "mount", lvm: &lvm.Config{ThinPool: "thin", Space: config.Space{Overprovision: 2}}},
	{name: "lvm thin block", access: "block", lvm: &lvm.Config{ThinPool: "thin"}},
	{name: "lvm striped mount", access: "mount", lvm: &lvm.Config{Type: lvm.Striped}},
	{name: "lvm striped block", access: "block", lvm: &lvm.Config{Type: lvm.Striped}},
	{name: "lvm raid1 mount", access: "mount", lvm: &lvm.Config{Type: lvm.RAID1}},
	{name: "lvm raid1 block", access: "block", lvm: &lvm.Config{Type: lvm.RAID1}},
}

// TestSanityOverLVM runs those modes where there is device-mapper.
func TestSanityOverLVM(t *testing.T) {
	scratch.Disks(t, lvmDisks)
	for _, m := range lvmModes {
		t.Run(m.name, func(t *testing.T) {
			m.inProcess(t)
		})
	}
}

// openLVM has the pool itself make its volume group, and its thin pool. close removes them.
func (m mode) openLVM(ctx context.Context) (_ pool.Pool, _ host.Machine, closePool func() error, err error) {
	config, runner := *m.lvm, host.NewRunner()
	config.VolumeGroup, config.Create, config.Devices = groupName, true, scratch.BlankDisks()[:lvmDisks]
	machine := host.New(runner)
	remove := func() error { return scratch.RemoveVolumeGroup(groupName, config.Devices...) }
	p, err := lvm.Open(ctx, poolName, nodeName, config, machine, runner)
	if err != nil {
		return nil, nil, nil, errors.Join(err, remove())
	}
	return p, machine, func() error { return errors.Join(p.Close(), remove()) }, nil
}
