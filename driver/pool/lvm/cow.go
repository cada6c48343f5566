package lvm

import (
	"context"
	"strings"
	"time"

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
