package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/scratch"
	"github.com/loam-storage/loam/sanity/serve"
)

const (
	groupName = "loambench"
	thinName  = "thin"
	lvmBytes  = 64 * volume.MiB
)

// lvmBench is a driver over one pool in a volume group, beside which the bare commands work.
type lvmBench struct {
	*bench
	pool   pool.Pool
	runner *counting
	disk   string // of which a linear volume is
	layout
}

// layout is one way in which volumes lie on the disks.
type layout struct {
	name   string
	config lvm.Config
	disks  int
	flags  []string // of lvcreate, for the same; none for thin ones
}

func (l layout) thin() bool { return l.config.ThinPool != "" }

var layouts = []layout{
	{name: "linear", disks: 1, config: lvm.Config{VolumeGroup: groupName}},
	{name: "striped", disks: 2, config: lvm.Config{VolumeGroup: groupName, Type: lvm.Striped}, flags: []string{"--type", "striped", "--stripes", "2"}},
	{name: "raid1", disks: 2, config: lvm.Config{VolumeGroup: groupName, Type: lvm.RAID1}, flags: []string{"--type", "raid1", "--mirrors", "1"}},
	{name: "thin", disks: 1, config: lvm.Config{VolumeGroup: groupName, ThinPool: thinName}},
}

// lvmMeasurements are the parts of the table for LVM, for each layout of volumes.
var lvmMeasurements = []struct {
	name string
	run  func(*lvmBench) ([]row, error)
}{
	{"create", (*lvmBench).createAndDelete}, {"snapshot", (*lvmBench).snapshots}, {"count", (*lvmBench).counts}, {"share", (*lvmBench).shares}, {"fio", (*lvmBench).fio},
}

// runLVM measures pools of each layout in a volume group that it makes on the first of the blank disks.
func runLVM(ctx context.Context, s settings, each func([]row)) error {
	disks := scratch.BlankDisks()
	if len(disks) < 2 {
		return fmt.Errorf("LOAM_TEST_DISKS names %d blank disks, and 2 are needed: make bench-lvm gives them, in a VM", len(disks))
	}
	for _, l := range layouts {
		b, err := prepareLVM(ctx, s, l, disks[:l.disks])
		if err == nil {
			for _, m := range lvmMeasurements {
				rows, measured := m.run(b)
				if measured != nil {
					err = fmt.Errorf("%s: %w", m.name, measured)
					break
				}
				each(rows)
			}
		}
		if err = errors.Join(err, b.close()); err != nil {
			return err
		}
	}
	return nil
}

func prepareLVM(ctx context.Context, s settings, l layout, disks []string) (*lvmBench, error) {
	b := &lvmBench{bench: &bench{settings: s, Context: ctx}, runner: &counting{Runner: host.NewRunner()}, disk: disks[0], layout: l}
	var err error
	if b.dir, err = os.MkdirTemp("", "loam-bench-"); err != nil {
		return b, err
	}
	b.later(func() error { return os.Remove(b.dir) })
	remove, err := scratch.VolumeGroup(groupName, disks...)
	b.later(remove)
	if err != nil {
		return b, err
	}
	if l.thin() {
		if _, err := scratch.LVM("lvcreate", "--yes", "--type", "thin-pool", "--size", "3g", "--poolmetadatasize", "64m", "--name", thinName, groupName); err != nil {
			return b, err
		}
	}
	machine := host.New(b.runner)
	if b.pool, err = lvm.Open(ctx, poolName, nodeName, l.config, machine, b.runner); err != nil {
		return b, err
	}
	b.later(b.pool.Close)
	set, err := pool.NewSet(nodeName, b.pool)
	if err != nil {
		return b, err
	}
	d, err := serve.Start(klog.NewContext(context.WithoutCancel(ctx), klog.Logger{}), serve.Config{Socket: filepath.Join(b.dir, "csi.sock"), Pools: set, Machine: machine})
	if err != nil {
		return b, err
	}
	b.later(d.Stop)
	b.controller, b.node = d.Controller, d.Node
	return b, nil
}

// createAndDelete compares CreateVolume and DeleteVolume with one lvm command each. Neither activates what it makes;
// both discard what they remove. LVM as Debian configures it keeps copies of the metadata in /etc/lvm, which loam has it not
// do; beside that ratio, which is what a user sees, is the one against a command that does not either.
func (b *lvmBench) createAndDelete() (rows []row, err error) {
	size := slices.Concat([]string{"--zero", "n", "--wipesignatures", "n", "--size", fmt.Sprintf("%db", lvmBytes)}, b.flags, []string{groupName})
	if b.thin() {
		size = []string{"--virtualsize", fmt.Sprintf("%db", lvmBytes), "--thinpool", groupName + "/" + thinName}
	}
	for _, c := range []struct {
		beside, settings string
		bounded          bool
	}{{beside: "", bounded: true}, {beside: ", without backup and archive", settings: "backup/backup=0 backup/archive=0"}} {
		made, err := pairs(b.bench, "CreateVolume, "+b.layout.name+" / lvcreate"+c.beside, 1.15,
			func(i int) error {
				_, err := b.create(fmt.Sprintf("create-%d", i), lvmBytes, blockAccess(), nil)
				return err
			},
			func(i int) error {
				return bareLVM(c.settings, "lvcreate", append([]string{"--yes", "--activate", "n", "--setactivationskip", "y", "--name", fmt.Sprintf("bare%d", i)}, size...)...)
			})
		if err != nil {
			return nil, err
		}
		removed, err := pairs(b.bench, "DeleteVolume, "+b.layout.name+" / lvremove with discard"+c.beside, 1.2,
			func(i int) error { return b.delete(handleOf(fmt.Sprintf("create-%d", i))) },
			func(i int) error {
				return bareLVM(c.settings, "lvremove", "--force", fmt.Sprintf("%s/bare%d", groupName, i))
			})
		if err != nil {
			return nil, err
		}
		for _, r := range []row{made, removed} {
			if !c.bounded {
				r.bound, r.met = "-", true
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// bareLVM runs an lvm command that discards what it removes.
func bareLVM(settings, name string, args ...string) error {
	_, err := scratch.LVM(name, append([]string{"--config", strings.TrimSpace("devices/issue_discards=1 " + settings)}, args...)...)
	return err
}

// snapshots compares CreateSnapshot with one lvcreate.
func (b *lvmBench) snapshots() (rows []row, err error) {
	if _, err := b.create("origin", lvmBytes, blockAccess(), nil); err != nil {
		return nil, err
	}
	bare := []string{"--yes", "--snapshot", "--activate", "n", "--setactivationskip", "y", "--permission", "r"}
	if !b.thin() {
		bare = append(bare, "--extents", "100%ORIGIN")
	}
	origin := "/loam." + poolName + ".v.origin"
	r, err := pairs(b.bench, "CreateSnapshot, "+b.layout.name+" / lvcreate --snapshot", 1.15,
		func(i int) error { return b.snapshotOf("origin", fmt.Sprintf("s-%d", i)) },
		func(i int) error {
			return bareLVM("", "lvcreate", append(bare[:len(bare):len(bare)], "--name", fmt.Sprintf("bare%d", i), groupName+origin)...)
		})
	if err != nil {
		return nil, err
	}
	errs := []error{}
	for i := range b.rounds + 1 {
		errs = append(errs, b.deleteSnapshot(fmt.Sprintf("s-%d", i)), bareLVM("", "lvremove", "--force", fmt.Sprintf("%s/bare%d", groupName, i)))
	}
	return []row{r}, errors.Join(append(errs, b.delete(handleOf("origin")))...)
}

func handleOf(name string) string { return nodeName + "/" + poolName + "/" + name }

// counting counts the processes that the driver starts.
type counting struct {
	host.Runner
	mu       sync.Mutex
	commands []string
}

// Run counts the command and runs it.
func (c *counting) Run(ctx context.Context, command host.Command) ([]byte, error) {
	name := command.Name
	if name == "lvm" {
		name = command.Args[0]
	}
	c.mu.Lock()
	c.commands = append(c.commands, name)
	c.mu.Unlock()
	return c.Runner.Run(ctx, command)
}

// during returns the lvm commands that were started while do ran.
func (c *counting) during(do func() error) ([]string, error) {
	c.mu.Lock()
	c.commands = nil
	c.mu.Unlock()
	err := do()
	c.mu.Lock()
	defer c.mu.Unlock()
	var commands []string
	for _, name := range c.commands {
		if strings.HasPrefix(name, "lv") || strings.HasPrefix(name, "vg") || name == "fullreport" {
			commands = append(commands, name)
		}
	}
	return commands, err
}
