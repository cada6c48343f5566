package lvm

import (
	"context"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host"
)

// checkThin has LVM check the metadata of a thin pool whenever it activates it. With the flag, a pool that a failed write
// made read-only can be written to again where the check finds nothing wrong; that is LVM's default, and not Debian's.
const checkThin = `global/thin_check_options=["-q","--clear-needs-check-flag"]`

// revive has LVM deactivate a thin pool that a failed write made read-only, where nothing in it is active: what comes
// next activates it again, and has it checked. Others may have to detach their volumes first, so it is no error where that
// cannot be done.
func (p *Pool) revive(ctx context.Context) {
	if !p.thin() {
		return
	}
	usage, active, err := p.thinUsage()
	if err != nil || !active || usage.Health != host.ThinReadOnly {
		return // what is to be done says better what is wrong
	}
	logger := klog.FromContext(ctx).WithValues("pool", p.name, "thinPool", p.config.ThinPool)
	held, err := p.thinActive(ctx)
	if err != nil || held {
		logger.Info("a thin pool is read-only, and in use", "err", err)
		return
	}
	if _, err := p.run(ctx, "", p.scanned(), []string{"lvchange", "--activate", "n", p.config.VolumeGroup + "/" + p.config.ThinPool}); err != nil {
		logger.Error(err, "a thin pool that is read-only could not be deactivated")
		return
	}
	logger.Info("a thin pool was read-only, and is checked when it is activated next")
}

// thinActive reports whether a logical volume in the thin pool is active, ours or not.
func (p *Pool) thinActive(ctx context.Context) (bool, error) {
	all, err := p.machine.MappedDevices()
	if err != nil {
		return false, err
	}
	g, err := p.stored(ctx)
	if err != nil {
		return false, err
	}
	for _, l := range g.LVs {
		if _, active := all[p.mapped(l.Name)]; active && l.Pool == p.config.ThinPool {
			return true, nil
		}
	}
	return false, nil
}
