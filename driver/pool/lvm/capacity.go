package lvm

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// room is what a pool has and what of it can be given out: in a thin pool in bytes, else in extents of
// each image of a volume (shape.cost).
type room struct {
	total, free, largest int64
	reserve              int64  // what is kept back of total and free
	trouble              string // why it is not healthy, empty where it is
	note                 string // what is worth knowing beside that
	broken               bool   // so that nothing can be made, whatever is free
}

// What a thin pool needs of its metadata for each chunk that is mapped: a leaf of its B-tree has 252
// entries in 4 KiB and is at least a third full, and the rest of the tree and the superblock come on top.
const (
	mappingBytes  = 52
	metadataBytes = 512 * volume.KiB
)

// nearlyFull is how many percent of a thin pool's data or metadata may be taken, where volumes could
// overflow it, before it refuses new ones.
const nearlyFull = 90

// room measures the pool in a report.
func (p *Pool) room(g *group) (r room, err error) {
	if p.thin() {
		if r, err = p.thinRoom(g); err != nil {
			return r, err
		}
	} else {
		r = p.thickRoom(g)
	}
	if g.texts > 0 && g.textFree < textOfOne/4 {
		r.free, r.largest, r.trouble = 0, 0, textsFull(g)
	}
	return r, nil
}

func (p *Pool) thickRoom(g *group) (r room) {
	var free []int64
	for _, d := range g.disks {
		if d.allocatable && !d.missing {
			free = append(free, d.free)
		}
	}
	r.free, r.largest = p.shape.room(free)
	if total, largest, note := p.mixedRoom(g); note != "" {
		r.free, r.largest, r.note = total, largest, note
	}
	r.total = r.free
	for _, l := range g.lvs {
		switch {
		case !p.ours(l):
		case l.isCOW():
			r.total += p.shape.cowCost(int64(l.cow / g.extent))
		default:
			r.total += p.shape.cost(l.size, g.extent)
		}
		if p.ours(l) && l.invalid() && r.trouble == "" {
			r.trouble = fmt.Sprintf("snapshot %q has lost what it had to keep, and cannot be restored: delete it", l.name)
		}
		if p.ours(l) && l.health != "" && r.trouble == "" {
			r.trouble = fmt.Sprintf("logical volume %q is %s: lvs -a -o +lv_health_status,devices %s", l.name, l.health, g.name)
		}
	}
	back := p.shape.cost(p.config.Reserve(p.shape.bytes(r.total+p.shape.meta, g.extent)), g.extent) - p.shape.meta
	r.trouble = cmp.Or(p.reserveTrouble(p.shape.bytes(back+p.shape.meta, g.extent), p.shape.bytes(r.total+p.shape.meta, g.extent)), r.trouble)
	r.total, r.free, r.reserve = max(r.total-back, 0), max(r.free-back, 0), back
	r.largest = min(r.largest, r.free)
	if p.tooFewDisks(g) {
		r.trouble = fmt.Sprintf("a volume of type %s needs %d disks, and volume group %q has %d: vgextend it", p.config.Type, p.shape.images, g.name, len(g.disks))
	}
	if g.missing > 0 {
		r.free, r.largest = 0, 0 // LVM changes nothing now
		r.trouble = fmt.Sprintf("volume group %q lacks %d of its disks: bring them back, or replace them%s", g.name, g.missing, p.strayDevices(g))
	}
	return r
}

// thinRoom adds up what all volumes and snapshots in the thin pool, also those of others, may come to
// need of its data and metadata.
func (p *Pool) thinRoom(g *group) (room, error) {
	t, ok := g.find(p.config.ThinPool)
	if !ok {
		return room{}, volume.Errorf(volume.Unavailable, "pool %q: there is no thin pool %q in volume group %q any more", p.name, p.config.ThinPool, g.name)
	}
	promised, mapped := p.promises(g, t)
	limit := min(promised, mapped) // full metadata is worse than full data
	var taken, foreign volume.Size
	for _, l := range g.lvs {
		if l.pool != t.name {
			continue
		}
		taken += l.size
		if !p.ours(l) {
			foreign += l.size
		}
	}
	back := p.config.Reserve(t.size)
	r := room{total: int64(max(limit-back-foreign, 0)), free: int64(max(limit-back-taken, 0)), reserve: int64(back), trouble: p.reserveTrouble(back, limit)}
	switch {
	case g.missing > 0:
		r.free = 0
		r.trouble = fmt.Sprintf("volume group %q lacks %d of its disks: bring them back, or replace them%s", g.name, g.missing, p.strayDevices(g))
	case taken > 0 && !t.is(attrState, 'a'):
		r.free, r.broken = 0, true
		r.trouble = fmt.Sprintf("thin pool %q is not active, so nobody knows how full it is: lvchange --activate y %s/%[1]s", t.name, g.name)
	case t.health == host.ThinReadOnly && t.metadata < nearlyFull:
		r.free, r.broken = 0, true
		r.trouble = fmt.Sprintf("thin pool %q is read-only since a write of its metadata failed: when all of its volumes are detached, it is checked and can be written to again", t.name)
	case t.health != "" && t.health != host.ThinReadOnly:
		r.free, r.broken = 0, t.health != host.ThinOutOfData
		r.trouble = fmt.Sprintf("thin pool %q is %s: see lvmthin(7)", t.name, t.health)
	case t.data >= nearlyFull && taken > t.size:
		r.free = 0
		r.trouble = fmt.Sprintf("thin pool %q has %.1f%% of its data taken: lvextend it, or delete volumes", t.name, t.data)
	case t.metadata >= nearlyFull:
		r.free = 0
		r.trouble = fmt.Sprintf("thin pool %q has %.1f%% of its metadata taken: lvextend --poolmetadatasize it", t.name, t.metadata)
	}
	if failed := p.extensionTrouble(); failed != "" && r.trouble == "" {
		r.trouble = failed
	} else if failed != "" {
		r.trouble += "; " + failed
	}
	r.largest = r.free / int64(g.extent) * int64(g.extent)
	return r, nil
}

// promises returns what a thin pool may promise by its size, and what its metadata can map.
func (p *Pool) promises(g *group, t lv) (promised, mapped volume.Size) {
	var chunk volume.Size
	for _, s := range g.segments {
		if s.lv == t.name {
			chunk = s.chunk
		}
	}
	return volume.Size(float64(t.size) * p.config.Ratio()), max(t.metaBytes-metadataBytes, 0) / mappingBytes * chunk
}

// bytes turns what room counts in into the size of a volume.
func (p *Pool) bytes(n int64, extent volume.Size) volume.Size {
	if p.thin() {
		return volume.Size(n)
	}
	return p.shape.bytes(n, extent)
}

// cost is what a volume of that size takes, in what room counts in.
func (p *Pool) cost(size volume.Size) int64 {
	if p.thin() {
		return int64(size.RoundUp(p.unit()))
	}
	return p.shape.cost(size, p.extentSize())
}

// unit is what sizes are rounded up to: an extent on each disk that holds data.
func (p *Pool) unit() volume.Size { return p.extentSize() * volume.Size(p.shape.data) }

func (p *Pool) extentSize() volume.Size {
	p.seen.Lock()
	defer p.seen.Unlock()
	return p.extent
}

// Status measures the pool. What is being made is taken off, even if the report shows it already.
func (p *Pool) Status(ctx context.Context) (volume.PoolStatus, error) {
	cannot := p.wake(ctx)
	if cannot == nil {
		cannot = p.disagreement(ctx)
	}
	g, err := p.look(ctx)
	if err != nil {
		return volume.PoolStatus{}, err
	}
	if err := p.check(g); err != nil {
		return volume.PoolStatus{}, err
	}
	r, err := p.room(g)
	if err != nil {
		return volume.PoolStatus{}, err
	}
	if cannot != nil && g.missing == 0 { // without a disk, that is what is to be said
		klog.FromContext(ctx).Error(cannot, "nothing can be made in a thin pool", "pool", p.name)
		r.free, r.largest = 0, 0
		r.trouble = strings.TrimSuffix(strings.TrimPrefix(cannot.Error(), fmt.Sprintf("pool %q: ", p.name))+"; "+r.trouble, "; ")
	} else if held := p.numberTrouble(ctx); held != "" {
		r.free, r.largest, r.trouble = 0, 0, held
	}
	if held := p.heldBack(g); held != "" {
		r.free, r.largest, r.trouble = 0, 0, strings.TrimSuffix(held+"; "+r.trouble, "; ")
	}
	damage := p.damageIn(g)
	if p.logDamage(damage); r.trouble == "" { // and what is free can be had
		r.trouble = damage
	}
	p.space.Lock()
	making := p.space.making
	p.space.Unlock()
	extent := g.extent
	return volume.PoolStatus{
		Pool: p.name, TotalBytes: p.bytes(r.total, extent), FreeBytes: p.bytes(max(r.free-making, 0), extent),
		LargestBytes: p.bytes(max(r.largest-making, 0), extent), LeastBytes: p.unit(), Fallbacks: p.fallbacks.Load(), Held: p.held.Read(),
		Healthy: r.trouble == "", Message: cmp.Or(r.trouble, moves(g), r.note),
	}, nil
}
