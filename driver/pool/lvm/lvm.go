// Package lvm is a pool in a volume group. A volume is a logical volume of its own: a thick one of any
// type that LVM has, with copy-on-write snapshots and copies block by block, or a thin one in a thin pool, where
// both are instant.
//
// What there is to know of a volume is in the tags and attributes of its logical volume (tags.go). One
// without our tags is not ours, and is neither listed nor touched. Logical volumes are active only while
// they are attached, and never activated when the machine starts.
//
// What is there is read from the metadata on the disks, without a process (package vg); LVM itself is asked for what
// only it and the kernel know, and where a command did not do what it was to do.
package lvm

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// Pool is a pool of thick or thin volumes. It is safe for concurrent use.
type Pool struct {
	*lvs
	release func() error           // lets the machine forget the pool when it is told to; nil while only inspected
	damage  atomic.Pointer[string] // what the log has said of it
}

var _ pool.Snapshotter = (*Pool)(nil)

// Open opens the pool of the given name on the given node, and removes what a crash left half made. The
// runner starts the lvm commands. The kind of its error is Invalid for a configuration that cannot be met, and Unavailable where
// the volume group or thin pool is not there or another process has the pool open.
func Open(ctx context.Context, name, node string, c Config, machine *host.Host, runner host.Runner) (_ pool.Pool, err error) {
	p, err := newPool(name, node, c, machine, runner)
	if err != nil {
		return nil, err
	}
	if err := p.takeLock(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = p.Close() // the error that is returned says more
		}
	}()
	r, err := p.lookOrMake(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.checkReport(r); err != nil {
		return nil, err
	}
	if err := p.establish(ctx, r); err != nil {
		return nil, err
	}
	g := &r.Layout
	if err := p.vg.Mend(ctx, g); err != nil {
		return nil, err
	}
	if err := p.wake(ctx); err != nil { // Status says so, and what is in it cannot be used
		klog.FromContext(ctx).Error(err, "a thin pool that is not active stays so", "pool", name)
	}
	for _, err := range []error{p.removeHalfMade(ctx, g), p.endCopies(ctx, g)} {
		if volume.Is(err, volume.Unavailable) { // a disk is missing, and the volumes on the others are to be used
			klog.FromContext(ctx).Error(err, "a pool is opened as it is, with what a crash left in it")
		} else if err != nil {
			return nil, err
		}
	}
	if err := p.noteSizes(ctx, g); err != nil { // they are trusted meanwhile
		klog.FromContext(ctx).Error(err, "volumes of an earlier version stay without their size in a tag", "pool", name)
	}
	p.watch(ctx)
	return p, nil
}

// Inspect opens a pool only to look at it: Status, Get and the lists work, also while another process
// has it open. The kind of its error is Unavailable where the pool is not there.
func Inspect(ctx context.Context, name, node string, c Config, machine *host.Host, runner host.Runner) (pool.Pool, error) {
	p, err := newPool(name, node, c, machine, runner)
	if err != nil {
		return nil, err
	}
	r, err := p.lookAndDecide(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.checkReport(r); err != nil {
		return nil, err
	}
	return p, nil
}

func newPool(name, node string, c Config, machine *host.Host, runner host.Runner) (*Pool, error) {
	if err := errors.Join(c.Check(), checkLength(c.VolumeGroup, name)); err != nil {
		return nil, volume.Errorf(volume.Invalid, "pool %q: %w", name, err)
	}
	of := &ground{owner: owner{name: name, node: node, group: c.VolumeGroup}, config: c, machine: machine, diskBlock: host.LogicalBlock}
	p := &Pool{lvs: &lvs{account: &account{ground: of, layout: layoutOf(of)}}}
	p.vg = vg.New(vg.Options{
		Name: c.VolumeGroup, Pool: name, Devices: c.Devices, Create: c.Create, ThinPool: c.ThinPool, Machine: machine, Runner: runner,
		Ours: p.ours, Reported: p.reported,
	})
	p.space.ended.L = &p.space.Mutex
	p.copies.of = map[string]*source{}
	return p, nil
}

// Name returns the pool's name.
func (p *Pool) Name() string { return p.name }

// Close lets another process open the pool. What is attached stays so.
func (p *Pool) Close() error {
	p.unwatch()
	var errs []error
	if p.release != nil {
		errs = append(errs, p.release())
	}
	if p.lock != nil {
		errs = append(errs, p.lock.Close())
	}
	return errors.Join(errs...)
}

// checkReport is check, where LVM has said what the metadata do not.
func (p *account) checkReport(r *vg.Report) error {
	if r.Exported {
		return volume.Errorf(volume.Unavailable, "pool %q: volume group %q is exported: vgimport it", p.name, r.Name)
	}
	return p.check(&r.Layout)
}

// check says whether the group is one that the pool can be in.
func (p *account) check(g *vg.Layout) error {
	if err := p.layout.check(g); err != nil {
		return volume.Errorf(volume.KindOf(err), "pool %q: %w", p.name, err)
	}
	return nil
}

// reported keeps what LVM reports of the group for when nothing else says it.
func (p *account) reported(r *vg.Report) {
	p.extent.Store(int64(r.Extent))
	p.noticeUsage(&r.Layout, r.States[p.config.ThinPool])
}

// removeHalfMade removes what carries the tag of half-made things, or is in a group with such a member. What somebody has
// renamed stays.
func (p *Pool) removeHalfMade(ctx context.Context, g *vg.Layout) error {
	for _, l := range g.LVs {
		if !p.ours(l) || !p.halfMade(g, l) || p.named(l) != nil {
			continue
		}
		if err := p.remove(ctx, l.Name, p.identity(l)); err != nil {
			return err
		}
	}
	return nil
}

// lockDirectory is where pools have their locks, and LVM its own unless its configuration says otherwise. A container shares it
// with its host.
const lockDirectory = "/run/lock/lvm"

// lockPatience is how long the lock of a pool is tried for. A command that a process was just starting when it was killed
// has the lock for a moment longer than the process.
const lockPatience = 5 * time.Second

// lockPoll is how often the lock is tried meanwhile.
const lockPoll = 10 * time.Millisecond

// takeLock keeps a second process from taking what this one makes for the leftovers of a crash. The
// kernel lets go of it when the process ends, in whatever way; the file says nothing.
func (p *Pool) takeLock() error {
	if err := os.MkdirAll(lockDirectory, 0o700); err != nil {
		return volume.Errorf(volume.Internal, "pool %q: %w", p.name, err)
	}
	path := filepath.Join(lockDirectory, "loam-"+p.name+"."+p.config.VolumeGroup) // a pool's name has no dot
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return volume.Errorf(volume.Internal, "pool %q: %w", p.name, err)
	}
	for until := time.Now().Add(lockPatience); ; time.Sleep(lockPoll) {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(until) {
			break
		}
	}
	if err != nil {
		err = volume.Errorf(volume.Unavailable, "pool %q in volume group %q is open in another loam (%s): a pool is served by one; stop that one, or give each loam pools of its own (%w)", p.name, p.config.VolumeGroup, cmp.Or(host.LockHolder(lock), "another process"), err)
		return errors.Join(err, lock.Close())
	}
	p.lock = lock
	return nil
}
