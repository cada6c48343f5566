package lvm

import (
	"context"
	"errors"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// A thin pool's volumes are in two places: LVM's metadata say which there are and what their numbers are, and the kernel
// keeps the blocks under these numbers. Each change has a number of its own (transaction id) in both. Where the two are of
// different times, after a restore of metadata say, LVM removes a volume from its metadata and fails to remove its blocks;
// and when it makes one whose number the kernel has already, it takes the blocks that are there for those of the new one.
// So before anything is made, changed or removed in it, both have to be of the same time, and the next number has to be free.

// agree sees to it that the thin pool is active, and that LVM's metadata and the kernel are of the same time. It starts no
// process where that is so. The kind of its error is Unavailable; the command must not be begun then.
func (p *Pool) agree(ctx context.Context, command string) error {
	p.revive(ctx)
	if err := p.wake(ctx); err != nil {
		return err
	}
	if err := p.disagreement(ctx); err != nil {
		return err
	}
	if err := p.poolMoves(ctx); err != nil {
		return err
	}
	usage, _, err := p.thinUsage()
	if err != nil {
		return p.silent(err)
	}
	// Making and removing take a message to the pool, which it refuses then; LVM would have done its half before.
	if usage.Health == host.ThinReadOnly && (command == "lvcreate" || command == "lvremove") {
		return volume.Errorf(volume.Unavailable, "pool %q: thin pool %q is read-only, since its metadata are full or a write of them failed, so nothing is made or removed in it: lvextend --poolmetadatasize it, or detach all of its volumes: then it is checked and can be written to again", p.name, p.config.ThinPool)
	}
	return nil
}

// silent is the error for a thin pool that has failed, and so says no numbers.
func (p *Pool) silent(err error) error {
	return volume.Errorf(volume.Unavailable, "pool %q: thin pool %q does not say how it is, and nothing is made, changed or removed in it: see lvmthin(7): %w", p.name, p.config.ThinPool, err)
}

// wake activates the thin pool where it is not active: only then it is known how full it is. The kind of its error is
// Unavailable.
func (p *Pool) wake(ctx context.Context) error {
	if !p.thin() || p.lock == nil {
		return nil
	}
	if _, active, err := p.thinUsage(); err != nil || active {
		return nil // what is to be done says better what is wrong
	}
	g, err := p.stored(ctx)
	if err != nil {
		return err
	}
	if _, there := g.Find(p.config.ThinPool); !there {
		return volume.Errorf(volume.Unavailable, "pool %q: there is no thin pool %q in volume group %q any more", p.name, p.config.ThinPool, g.Name)
	}
	c := activate(false)
	c.Of = p.config.ThinPool
	if err := p.lvmPlain(ctx, c); err != nil {
		return volume.Errorf(volume.Unavailable, "pool %q: thin pool %q cannot be activated, and nothing is made, changed or removed in it until lvchange --activate y %s/%[2]s works; where its transaction_id is not as expected, the metadata are of another time than the pool: vgcfgrestore those that belong to it (%[4]v)", p.name, p.config.ThinPool, p.config.VolumeGroup, err) // not wrapped: it is explained
	}
	klog.FromContext(ctx).Info("activated a thin pool, to see how full it is", "pool", p.name, "thinPool", p.config.ThinPool)
	return nil
}

// disagreement says whether LVM's metadata and an active thin pool are of different times. While a command of LVM is at
// work they may be, so what seems to be is looked at again with LVM's lock. The kind of its error is Unavailable.
func (p *Pool) disagreement(ctx context.Context) error {
	if !p.thin() {
		return nil
	}
	is, err := p.compared(ctx)
	if err != nil || is.agree || is.pending { // LVM itself sees to what is pending, before anything else
		return err
	}
	return volume.Errorf(volume.Unavailable, "pool %q: LVM's metadata have transaction id %d for thin pool %q, and the kernel has %d: they are of different times, and nothing is made, changed or removed in it: vgcfgrestore the metadata that belong to it (vgcfgrestore --list %s), and see lvmthin(7)", p.name, is.lvm, p.config.ThinPool, is.kernel, p.config.VolumeGroup)
}

// settled sees to it that the thin pool has done all that LVM's metadata say: a command that was killed may have changed
// those, and not the pool yet. The kind of its error is Unavailable.
func (p *Pool) settled(ctx context.Context) error {
	if err := p.disagreement(ctx); err != nil {
		return err
	}
	is, err := p.compared(ctx)
	if err != nil || !is.pending {
		return err
	}
	// LVM tells an active pool nothing until it makes or removes a volume in it (lvm2 2.03.16).
	id := volume.ID{Node: p.node, Pool: p.name, Name: "settle"}
	spare := newLV{LV: LV{Name: p.lvName(forSpare, id.Name), Size: p.unit(), Tags: []string{tagSpare + id.String(), tagMaking}}}
	failed := p.lvm(ctx, p.lvcreate(spare, "n"))
	failed = errors.Join(failed, p.remove(ctx, spare.Name, p.identity(spare.LV)))
	if is, err = p.compared(ctx); err != nil || is.agree {
		return errors.Join(err, failed)
	}
	where := p.config.VolumeGroup + "/" + p.config.ThinPool
	err = volume.Errorf(volume.Unavailable, "pool %q: LVM has removed or made a volume in its metadata, and thin pool %q has not done so: with its volumes detached, lvchange --activate n %s, and lvchange --activate y %[3]s", p.name, p.config.ThinPool, where)
	return errors.Join(err, failed)
}

// times is what LVM and the kernel say when the last change of a thin pool was.
type times struct {
	lvm, kernel    int64
	agree, pending bool // pending: LVM has noted what it has to tell the pool, and has not told it
}

// compared is compare, with LVM's lock where the two do not agree without it.
func (p *Pool) compared(ctx context.Context) (times, error) {
	is, err := p.compare(ctx, p.seenWithoutLock)
	if err != nil || is.agree {
		return is, err
	}
	release, err := p.lockGroup(ctx)
	if err != nil {
		return is, err
	}
	is, err = p.compare(ctx, p.seenWithLock)
	return is, errors.Join(err, release())
}

func (p *Pool) seenWithoutLock(ctx context.Context) (*Layout, error) {
	g, err := p.reads.get(ctx, p.name, p.read)
	if err != nil && ctx.Err() == nil {
		return layoutIn(p.look(ctx))
	}
	return g, err
}

func (p *Pool) seenWithLock(ctx context.Context) (*Layout, error) {
	g, err := p.reads.get(ctx, p.name, p.read)
	if err != nil && ctx.Err() == nil { // LVM would wait for the lock
		return layoutIn(p.lockedReport(ctx))
	}
	return g, err
}

// compare reads both. A thin pool that is not active agrees: LVM looks at that when it activates it.
func (p *Pool) compare(ctx context.Context, see func(context.Context) (*Layout, error)) (is times, err error) {
	g, err := see(ctx)
	if err != nil {
		return is, err
	}
	usage, active, err := p.thinUsage()
	if err != nil {
		return is, p.silent(err)
	}
	t, there := g.Find(p.config.ThinPool)
	if !there {
		return is, volume.Errorf(volume.Unavailable, "pool %q: there is no thin pool %q in volume group %q any more", p.name, p.config.ThinPool, g.Name)
	}
	is = times{lvm: t.Transaction, kernel: usage.TransactionID}
	is.agree = !active || is.lvm == is.kernel // messages that are noted for all that have been sent
	is.pending = active && t.Messages > 0 && is.lvm == is.kernel+1
	return is, nil
}

// poolDevice is the name of the device-mapper device with the target "thin-pool". Until there is a first volume in it,
// LVM gives that the name of the thin pool itself, which is later a device above it.
func (p *Pool) poolDevice() string {
	name := p.mapped(p.config.ThinPool)
	if t, err := p.machine.MapperTable(name); err == nil && t.Target == "thin-pool" {
		return name
	}
	return name + "-tpool"
}

// thinUsage asks device-mapper how full the thin pool is, and reports whether it is active.
func (p *Pool) thinUsage() (host.ThinUsage, bool, error) { return p.machine.ThinUsage(p.poolDevice()) }
