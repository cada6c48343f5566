package lvm

import (
	"fmt"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// full is the error of a pool that has not as much as is asked. It says how much there is, and what has the rest.
func (p *Pool) full(g *vg.Layout, r room, cost int64) error {
	if r.broken {
		return volume.Errorf(volume.Unavailable, "pool %q: %s", p.name, r.trouble)
	}
	extent := p.unit() / volume.Size(p.shape.data)
	text := fmt.Sprintf("pool %q is full: %s; %s at most can be made, %s asked", p.name, p.takenBy(g, r), p.bytes(r.largest, extent), p.bytes(cost, extent))
	if r.trouble != "" {
		text += "; " + r.trouble
	}
	return volume.Errorf(volume.Full, "%s", text)
}

// takenBy says what has how much of the pool. Of thick volumes that is in bytes on the disks, with all copies.
func (p *Pool) takenBy(g *vg.Layout, r room) string {
	if p.thin() {
		return p.thinTakenBy(g)
	}
	names := map[string]vg.LV{} // of ours
	for _, l := range g.LVs {
		if p.ours(l) {
			names[l.Name] = l
		}
	}
	var total, free, volumes, snapshots, others int64
	for _, d := range g.Disks {
		total, free = total+d.Extents, free+d.Free
	}
	for _, part := range g.LVs {
		n := vg.Extents(part.Ranges())
		l, ours := names[part.Whole()]
		switch {
		case !ours:
			others += n
		case l.IsCOW():
			snapshots += n
		default:
			volumes += n
		}
	}
	size := func(extents int64) volume.Size { return volume.Size(extents) * g.Extent }
	text := fmt.Sprintf("volume group %q has %s, of which volumes of the pool take %s, their snapshots %s, other logical volumes %s, and %s are free", g.Name, size(total), size(volumes), size(snapshots), size(others), size(free))
	if r.reserve > 0 {
		text += fmt.Sprintf("; the pool keeps back %s (reserve)", p.bytes(r.reserve+p.shape.meta, g.Extent))
	}
	return text
}

func (p *Pool) thinTakenBy(g *vg.Layout) string {
	t, _ := g.Find(p.config.ThinPool)
	var ours, others volume.Size
	for _, l := range g.LVs {
		switch {
		case l.Pool != t.Name:
		case p.ours(l):
			ours += l.Size
		default:
			others += l.Size
		}
	}
	promised, mapped := p.promises(t)
	text := fmt.Sprintf("thin pool %s/%s has %s and promises %s, of which volumes and snapshots of the pool have %s, and others %s", g.Name, t.Name, t.Size, min(promised, mapped), ours, others)
	if mapped < promised {
		text += fmt.Sprintf("; its metadata can map no more (lvextend --poolmetadatasize), else it would promise %s", promised)
	}
	if back := p.config.Reserve(t.Size); back > 0 {
		text += fmt.Sprintf("; the pool keeps back %s (reserve)", back)
	}
	return text
}

// reserveTrouble says that a reserve leaves nothing of what the pool has; empty where it does.
func (p *Pool) reserveTrouble(back, of volume.Size) string {
	if back == 0 || back < of {
		return ""
	}
	return fmt.Sprintf("the reserve of %s is all of the %s that the pool has: make the reserve smaller, or the pool larger", back, of)
}
