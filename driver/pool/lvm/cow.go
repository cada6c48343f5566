package lvm

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// A copy-on-write snapshot (dm-snapshot) keeps chunks that its volume had at its instant, and behind each area
// with an entry of 16 bytes for as many chunks as fit, in a chunk of its own
// (Documentation/admin-guide/device-mapper/snapshot.rst). Smaller chunks copy less where little is
// written, and larger ones keep the kernel's table of them small.
const (
	cowChunk     = 64 * volume.KiB
	cowPerRecord = cowChunk / 16
)

// cowExtents returns how many extents a snapshot takes that can hold every chunk of a volume of the given size:
// the most that LVM gives it. A header comes first, and the last area has an entry that ends it.
func cowExtents(size, extent volume.Size) int64 {
	chunks := size.RoundUp(cowChunk) / cowChunk
	areas := chunks/cowPerRecord + 1
	return int64(((1 + chunks + areas) * cowChunk).RoundUp(extent) / extent)
}

// cowCost is what that takes of each image's room. A snapshot is striped over as many disks as a volume
// has images, so it fits where one does, and has no copy or parity of its own.
func (s shape) cowCost(extents int64) int64 {
	images := int64(s.images)
	return (extents + images - 1) / images
}

// snapshotCost is what a snapshot of a volume of that size takes, in what room counts in.
func (p *Pool) snapshotCost(size volume.Size) int64 {
	if p.thin() {
		return p.cost(size)
	}
	return p.shape.cowCost(cowExtents(size, p.extentSize()))
}

// lvsnapshot makes a snapshot of a logical volume in one command. One that is no volume yet can
// neither be written to nor activated by chance.
func (p *Pool) lvsnapshot(ctx context.Context, origin string, s vg.LV, writable bool) error {
	if err := p.notFrozen(ctx, origin); err != nil {
		return err
	}
	further, err := p.keepReadOnly(origin)
	if err != nil {
		return err
	}
	c := p.creates(s, "--snapshot", "--activate", "n", "--permission", map[bool]string{true: "rw", false: "r"}[writable])
	if !p.thin() {
		c.Flags = append(c.Flags, "--chunksize", strconv.Itoa(int(cowChunk))+"b", "--extents", strconv.FormatInt(cowExtents(s.Size, p.extentSize()), 10))
		if p.shape.images > 1 {
			c.Flags = append(c.Flags, "--stripes", strconv.Itoa(p.shape.images))
		}
	}
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
