package vg

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

// ThinPool is the thin pool of a volume group that is worked in.
type ThinPool struct {
	group   *Group
	name    string
	numbers thinNumbers
}

// agree sees to it that the thin pool is active, and that LVM's metadata and the kernel are of the same time. It starts no
// process where that is so. The kind of its error is Unavailable; the command must not be begun then.
func (t *ThinPool) agree(ctx context.Context, command string) error {
	t.Revive(ctx)
	if err := t.Wake(ctx); err != nil {
		return err
	}
	if err := t.Disagreement(ctx); err != nil {
		return err
	}
	if err := t.moves(ctx); err != nil {
		return err
	}
	usage, _, err := t.Usage()
	if err != nil {
		return t.silent(err)
	}
	// Making and removing take a message to the pool, which it refuses then; LVM would have done its half before.
	if usage.Health == host.ThinReadOnly && (command == "lvcreate" || command == "lvremove") {
		return volume.Errorf(volume.Unavailable, "pool %q: thin pool %q is read-only, since its metadata are full or a write of them failed, so nothing is made or removed in it: lvextend --poolmetadatasize it, or detach all of its volumes: then it is checked and can be written to again", t.group.of.Pool, t.name)
	}
	return nil
}

// silent is the error for a thin pool that has failed, and so says no numbers.
func (t *ThinPool) silent(err error) error {
	return volume.Errorf(volume.Unavailable, "pool %q: thin pool %q does not say how it is, and nothing is made, changed or removed in it: see lvmthin(7): %w", t.group.of.Pool, t.name, err)
}

// Wake activates the thin pool where it is not active: only then it is known how full it is. The kind of its error is
// Unavailable.
func (t *ThinPool) Wake(ctx context.Context) error {
	if _, active, err := t.Usage(); err != nil || active {
		return nil // what is to be done says better what is wrong
	}
	g, err := t.group.Layout(ctx)
	if err != nil {
		return err
	}
	if _, there := g.Find(t.name); !there {
		return volume.Errorf(volume.Unavailable, "pool %q: there is no thin pool %q in volume group %q any more", t.group.of.Pool, t.name, g.Name)
	}
	c := activate(false)
	c.Of = t.name
	if err := t.group.ChangeOutside(ctx, c); err != nil {
		return volume.Errorf(volume.Unavailable, "pool %q: thin pool %q cannot be activated, and nothing is made, changed or removed in it until lvchange --activate y %s/%[2]s works; where its transaction_id is not as expected, the metadata are of another time than the pool: vgcfgrestore those that belong to it (%[4]v)", t.group.of.Pool, t.name, t.group.of.Name, err) // not wrapped: it is explained
	}
	klog.FromContext(ctx).Info("activated a thin pool, to see how full it is", "pool", t.group.of.Pool, "thinPool", t.name)
	return nil
}

// Disagreement says whether LVM's metadata and an active thin pool are of different times. While a command of LVM is at
// work they may be, so what seems to be is looked at again with LVM's lock. The kind of its error is Unavailable.
func (t *ThinPool) Disagreement(ctx context.Context) error {
	is, err := t.Times(ctx)
	if err != nil || is.Agree || is.Pending { // LVM itself sees to what is pending, before anything else
		return err
	}
	return volume.Errorf(volume.Unavailable, "pool %q: LVM's metadata have transaction id %d for thin pool %q, and the kernel has %d: they are of different times, and nothing is made, changed or removed in it: vgcfgrestore the metadata that belong to it (vgcfgrestore --list %s), and see lvmthin(7)", t.group.of.Pool, is.LVM, t.name, is.Kernel, t.group.of.Name)
}

// moves says whether the thin pool is moved to another disk. LVM would make and remove volumes in it, and leave devices suspended
// that have to do with the move (lvm2 2.03.16). The kind of its error is Busy.
func (t *ThinPool) moves(ctx context.Context) error {
	g, err := t.group.Layout(ctx)
	if err != nil {
		return err
	}
	if g.MovedIn(t.name) {
		return t.group.Moving(g, t.name)
	}
	return nil
}

// Times is what LVM and the kernel say when the last change of a thin pool was.
type Times struct {
	LVM, Kernel    int64
	Agree, Pending bool // Pending: LVM has noted what it has to tell the pool, and has not told it
}

// Times is compare, with LVM's lock where the two do not agree without it.
func (t *ThinPool) Times(ctx context.Context) (Times, error) {
	is, err := t.compare(t.group.now(ctx, false))
	if err != nil || is.Agree {
		return is, err
	}
	release, err := t.group.Lock(ctx)
	if err != nil {
		return is, err
	}
	is, err = t.compare(t.group.now(ctx, true))
	return is, errors.Join(err, release())
}

// compare reads both, of which LVM's is in the layout. A thin pool that is not active agrees: LVM looks at that when it activates it.
func (t *ThinPool) compare(g *Layout, err error) (is Times, _ error) {
	if err != nil {
		return is, err
	}
	usage, active, err := t.Usage()
	if err != nil {
		return is, t.silent(err)
	}
	found, there := g.Find(t.name)
	if !there {
		return is, volume.Errorf(volume.Unavailable, "pool %q: there is no thin pool %q in volume group %q any more", t.group.of.Pool, t.name, g.Name)
	}
	is = Times{LVM: found.Transaction, Kernel: usage.TransactionID}
	is.Agree = !active || is.LVM == is.Kernel // messages that are noted for all that have been sent
	is.Pending = active && found.Messages > 0 && is.LVM == is.Kernel+1
	return is, nil
}

// Device is the name of the device-mapper device with the target "thin-pool". Until there is a first volume in it,
// LVM gives that the name of the thin pool itself, which is later a device above it.
func (t *ThinPool) Device() string {
	name := t.group.Mapped(t.name)
	if t, err := t.group.of.Machine.MapperTable(name); err == nil && t.Target == "thin-pool" {
		return name
	}
	return name + "-tpool"
}

// Usage asks device-mapper how full the thin pool is, and reports whether it is active.
func (t *ThinPool) Usage() (host.ThinUsage, bool, error) {
	return t.group.of.Machine.ThinUsage(t.Device())
}

// checkThin has LVM check the metadata of a thin pool whenever it activates it. With the flag, a pool that a failed write
// made read-only can be written to again where the check finds nothing wrong; that is LVM's default, and not Debian's.
const checkThin = `global/thin_check_options=["-q","--clear-needs-check-flag"]`

// Revive has LVM deactivate a thin pool that a failed write made read-only, where nothing in it is active: what comes
// next activates it again, and has it checked. Others may have to detach their volumes first, so it is no error where that
// cannot be done.
func (t *ThinPool) Revive(ctx context.Context) {
	usage, active, err := t.Usage()
	if err != nil || !active || usage.Health != host.ThinReadOnly {
		return // what is to be done says better what is wrong
	}
	logger := klog.FromContext(ctx).WithValues("pool", t.group.of.Pool, "thinPool", t.name)
	held, err := t.inUse(ctx)
	if err != nil || held {
		logger.Info("a thin pool is read-only, and in use", "err", err)
		return
	}
	if _, err := t.group.run(ctx, "", t.group.scanned(), []string{"lvchange", "--activate", "n", t.group.of.Name + "/" + t.name}); err != nil {
		logger.Error(err, "a thin pool that is read-only could not be deactivated")
		return
	}
	logger.Info("a thin pool was read-only, and is checked when it is activated next")
}

// inUse reports whether a logical volume in the thin pool is active, ours or not.
func (t *ThinPool) inUse(ctx context.Context) (bool, error) {
	all, err := t.group.of.Machine.MappedDevices()
	if err != nil {
		return false, err
	}
	g, err := t.group.Layout(ctx)
	if err != nil {
		return false, err
	}
	for _, l := range g.LVs {
		if _, active := all[t.group.Mapped(l.Name)]; active && l.Pool == t.name {
			return true, nil
		}
	}
	return false, nil
}
