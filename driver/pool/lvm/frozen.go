package lvm

import (
	"context"
	"errors"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// notFrozen says whether somebody has frozen the file system on a logical volume, so that the kernel would refuse to suspend the
// volume, in the middle of what lvm does. Where it takes no writes at the moment, a freeze is tried and taken back, while nobody else
// runs lvm, whose own suspending would be in the way of that and the other way round; a freeze writes, so on a disk that fails it
// would stop a file system that has nothing to write. What notFrozen cannot find out, lvm will. The kind of its error is InUse.
func (p *lvs) notFrozen(ctx context.Context, name string) (err error) {
	d, active, err := p.vg.Device(name)
	if err != nil || !active || host.SuspendsFrozen() {
		return err
	}
	mountPoint, mounted, err := p.machine.MountPoint(d.Device)
	if err != nil || !mounted {
		return nil //nolint:nilerr // it is gone, or cannot be reached
	}
	if p.machine.TakesWrites(ctx, mountPoint) {
		return nil
	}
	release, err := p.vg.Lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	frozen, err := host.Freeze(ctx, []string{mountPoint})
	if err != nil {
		return nil //nolint:nilerr // it has failed
	}
	others := len(frozen.Others()) > 0
	if err := frozen.Thaw(); err != nil && !others {
		return volume.Errorf(volume.Unavailable, "pool %q: %w", p.name, err)
	}
	if others {
		return volume.Errorf(volume.InUse, "pool %q: the file system at %q, on logical volume %q, was frozen by somebody else (fsfreeze), and this kernel takes no LVM snapshot of it (Linux 6.8 and later do): thaw it first, the snapshot freezes it for its moment by itself", p.name, mountPoint, name)
	}
	return nil
}
