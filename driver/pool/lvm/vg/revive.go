package vg

import (
	"context"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host"
)

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
	logger := klog.FromContext(ctx).WithValues("pool", t.group.pool, "thinPool", t.name)
	held, err := t.inUse(ctx)
	if err != nil || held {
		logger.Info("a thin pool is read-only, and in use", "err", err)
		return
	}
	if _, err := t.group.run(ctx, "", t.group.scanned(), []string{"lvchange", "--activate", "n", t.group.name + "/" + t.name}); err != nil {
		logger.Error(err, "a thin pool that is read-only could not be deactivated")
		return
	}
	logger.Info("a thin pool was read-only, and is checked when it is activated next")
}

// inUse reports whether a logical volume in the thin pool is active, ours or not.
func (t *ThinPool) inUse(ctx context.Context) (bool, error) {
	all, err := t.group.machine.MappedDevices()
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
