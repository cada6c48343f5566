package lvm

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// lvsnapshot makes a snapshot of a logical volume in one command. One that is no volume yet can
// neither be written to nor activated by chance.
func (p *lvs) lvsnapshot(ctx context.Context, origin string, s vg.LV, writable bool) error {
	if err := p.notFrozen(ctx, origin); err != nil {
		return err
	}
	further, err := p.layout.keepReadOnly(origin)
	if err != nil {
		return err
	}
	c := p.creates(s, "--snapshot", "--activate", "n", "--permission", map[bool]string{true: "rw", false: "r"}[writable])
	c.Flags = append(c.Flags, p.layout.snapshotFlags(s.Size)...)
	c.Of, c.Settings = origin, further
	// LVM does not say for how long it suspended the volume: for less than it ran.
	d, active, err := p.vg.Device(origin)
	if err != nil {
		return err
	}
	start := time.Now()
	err = p.vg.Change(ctx, c)
	if active && !d.ReadOnly {
		p.held.Note(ctx, p.name, time.Since(start), "logicalVolume", origin, "atMost", true)
	}
	return err
}

// hasSnapshots is the error for what cannot be done with a volume that has snapshots.
func (p *Pool) hasSnapshots(g *vg.Layout, id volume.ID, cannot string) error {
	var names []string
	origin, _ := g.Find(p.lvName(forVolume, id.Name))
	for _, l := range g.LVs {
		if l.RestsOn(origin) {
			text, ok := tagged(l.Tags, tagSnapshot)
			if !ok {
				text = g.Name + "/" + l.Name
			}
			names = append(names, text)
		}
	}
	return volume.Errorf(volume.InUse, "volume %q cannot be %s while it has snapshots, which are copy-on-write in pool %q, or is the external origin of thin volumes: delete %s first", id, cannot, p.name, strings.Join(names, ", "))
}

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
