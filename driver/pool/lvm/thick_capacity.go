package lvm

import (
	"fmt"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// capacity adds up what is free on the disks and what volumes and snapshots of the pool have.
func (p *thick) capacity(g *vg.Layout, _ vg.State) (r capacity, err error) {
	var free []int64
	for _, d := range g.Disks {
		if d.Allocatable && !d.Missing {
			free = append(free, d.Free)
		}
	}
	r.free, r.largest = p.shape.capacity(free)
	if total, largest, note := p.mixed(g); note != "" {
		r.free, r.largest, r.note = total, largest, note
	}
	r.total = r.free
	for _, l := range g.LVs {
		switch {
		case !p.ours(l):
		case l.IsCOW():
			r.total += p.shape.cowCost(int64(l.Store / g.Extent))
		default:
			r.total += p.shape.cost(l.Size, g.Extent)
		}
	}
	back := p.shape.cost(p.config.Reserve(p.shape.bytes(r.total+p.shape.meta, g.Extent)), g.Extent) - p.shape.meta
	r.trouble = reserveTrouble(p.shape.bytes(back+p.shape.meta, g.Extent), p.shape.bytes(r.total+p.shape.meta, g.Extent))
	r.total, r.free, r.reserve = max(r.total-back, 0), max(r.free-back, 0), back
	r.largest = min(r.largest, r.free)
	if p.tooFewDisks(g) {
		r.trouble = fmt.Sprintf("a volume of type %s needs %d disks, and volume group %q has %d: vgextend it", p.config.Type, p.shape.images, g.Name, len(g.Disks))
	}
	return r, nil
}

// unhealthy says what is wrong with the first thick volume or snapshot of which something is, empty for nothing.
func (p *thick) unhealthy(r *vg.Report) string {
	for _, l := range r.LVs {
		state := r.States[l.Name]
		switch {
		case !p.ours(l):
		case state.Invalid:
			return fmt.Sprintf("snapshot %q has lost what it had to keep, and cannot be restored: delete it", l.Name)
		case state.Health != "":
			return fmt.Sprintf("logical volume %q is %s: lvs -a -o +lv_health_status,devices %s", l.Name, state.Health, r.Name)
		}
	}
	return ""
}

// mixed is what volumes of disks that are alike can have, and a note for people; an empty note where all disks are.
func (p *thick) mixed(g *vg.Layout) (total, largest int64, note string) {
	blocks, err := p.blocksOf(g)
	if err != nil {
		return 0, 0, "" // what is to be done there says so
	}
	all := sizes(blocks)
	if len(all) < 2 {
		return 0, 0, ""
	}
	for _, block := range all {
		sum, one := p.shape.capacity(freeOn(g, p.alike(g, blocks, block)))
		total, largest = total+sum, max(largest, one)
	}
	return total, largest, mixedText(g, blocks) + ": a volume is made on disks that are alike, and it and its copies grow only onto disks with no larger blocks than it was made with"
}

// takenBy says what has how much of the pool. Of thick volumes that is in bytes on the disks, with all copies.
func (p *thick) takenBy(g *vg.Layout, r capacity) string {
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
