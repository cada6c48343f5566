package lvm

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
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

// room measures the pool, of whose thin pool the state is given.
func (p *Pool) room(g *vg.Layout, pool vg.State) (room, error) {
	if p.thin() {
		return p.thinRoom(g, pool)
	}
	return p.thickRoom(g), nil
}

// reportedRoom is room with what LVM reports beside the layout.
func (p *Pool) reportedRoom(of *vg.Report) (room, error) {
	r, err := p.room(&of.Layout, of.States[p.config.ThinPool])
	if err != nil {
		return r, err
	}
	if !p.thin() {
		r.trouble = cmp.Or(r.trouble, p.unhealthy(of))
	}
	if of.Texts > 0 && of.TextFree < textOfOne/4 {
		r.free, r.largest, r.trouble = 0, 0, textsFull(of)
	}
	return r, nil
}

// roomNow is room with the thin pool as device-mapper has it. One that has failed says no numbers, and LVM is asked.
func (p *Pool) roomNow(ctx context.Context, g *vg.Layout) (room, error) {
	if !p.thin() {
		return p.room(g, vg.State{})
	}
	usage, active, err := p.vg.Thin().Usage()
	if err != nil {
		r, err := p.vg.Report(ctx)
		if err != nil {
			return room{}, err
		}
		return p.reportedRoom(r)
	}
	state := vg.State{Active: active, Data: usage.Data, Metadata: usage.Metadata, Health: usage.Health}
	p.noticeUsage(g, state)
	return p.room(g, state)
}

// unhealthy says what is wrong with the first thick volume or snapshot of which something is, empty for nothing.
func (p *Pool) unhealthy(r *vg.Report) string {
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

func (p *Pool) thickRoom(g *vg.Layout) (r room) {
	var free []int64
	for _, d := range g.Disks {
		if d.Allocatable && !d.Missing {
			free = append(free, d.Free)
		}
	}
	r.free, r.largest = p.shape.room(free)
	if total, largest, note := p.mixedRoom(g); note != "" {
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
	r.trouble = p.reserveTrouble(p.shape.bytes(back+p.shape.meta, g.Extent), p.shape.bytes(r.total+p.shape.meta, g.Extent))
	r.total, r.free, r.reserve = max(r.total-back, 0), max(r.free-back, 0), back
	r.largest = min(r.largest, r.free)
	if p.tooFewDisks(g) {
		r.trouble = fmt.Sprintf("a volume of type %s needs %d disks, and volume group %q has %d: vgextend it", p.config.Type, p.shape.images, g.Name, len(g.Disks))
	}
	if g.Missing > 0 {
		r.free, r.largest = 0, 0 // LVM changes nothing now
		r.trouble = fmt.Sprintf("volume group %q lacks %d of its disks: bring them back, or replace them%s", g.Name, g.Missing, p.vg.StrayDevices(g))
	}
	return r
}

// thinRoom adds up what all volumes and snapshots in the thin pool, also those of others, may come to
// need of its data and metadata.
func (p *Pool) thinRoom(g *vg.Layout, state vg.State) (room, error) {
	t, ok := g.Find(p.config.ThinPool)
	if !ok {
		return room{}, volume.Errorf(volume.Unavailable, "pool %q: there is no thin pool %q in volume group %q any more", p.name, p.config.ThinPool, g.Name)
	}
	promised, mapped := p.promises(t)
	limit := min(promised, mapped) // full metadata is worse than full data
	var taken, foreign volume.Size
	for _, l := range g.LVs {
		if l.Pool != t.Name {
			continue
		}
		taken += l.Size
		if !p.ours(l) {
			foreign += l.Size
		}
	}
	back := p.config.Reserve(t.Size)
	r := room{total: int64(max(limit-back-foreign, 0)), free: int64(max(limit-back-taken, 0)), reserve: int64(back), trouble: p.reserveTrouble(back, limit)}
	switch {
	case g.Missing > 0:
		r.free = 0
		r.trouble = fmt.Sprintf("volume group %q lacks %d of its disks: bring them back, or replace them%s", g.Name, g.Missing, p.vg.StrayDevices(g))
	case taken > 0 && !state.Active:
		r.free, r.broken = 0, true
		r.trouble = fmt.Sprintf("thin pool %q is not active, so nobody knows how full it is: lvchange --activate y %s/%[1]s", t.Name, g.Name)
	case state.Health == host.ThinReadOnly && state.Metadata < nearlyFull:
		r.free, r.broken = 0, true
		r.trouble = fmt.Sprintf("thin pool %q is read-only since a write of its metadata failed: when all of its volumes are detached, it is checked and can be written to again", t.Name)
	case state.Health != "" && state.Health != host.ThinReadOnly:
		r.free, r.broken = 0, state.Health != host.ThinOutOfData
		r.trouble = fmt.Sprintf("thin pool %q is %s: see lvmthin(7)", t.Name, state.Health)
	case state.Data >= nearlyFull && taken > t.Size:
		r.free = 0
		r.trouble = fmt.Sprintf("thin pool %q has %.1f%% of its data taken: lvextend it, or delete volumes", t.Name, state.Data)
	case state.Metadata >= nearlyFull:
		r.free = 0
		r.trouble = fmt.Sprintf("thin pool %q has %.1f%% of its metadata taken: lvextend --poolmetadatasize it", t.Name, state.Metadata)
	}
	if failed := p.extensionTrouble(); failed != "" && r.trouble == "" {
		r.trouble = failed
	} else if failed != "" {
		r.trouble += "; " + failed
	}
	r.largest = r.free / int64(g.Extent) * int64(g.Extent)
	return r, nil
}

// promises returns what a thin pool may promise by its size, and what its metadata can map.
func (p *Pool) promises(t vg.LV) (promised, mapped volume.Size) {
	return volume.Size(float64(t.Size) * p.config.Ratio()), max(t.MetadataSize-metadataBytes, 0) / mappingBytes * t.Chunk
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

func (p *Pool) extentSize() volume.Size { return volume.Size(p.extent.Load()) }

// Status measures the pool. What is being made is taken off, even if the report shows it already.
func (p *Pool) Status(ctx context.Context) (volume.PoolStatus, error) {
	cannot := p.wake(ctx)
	if cannot == nil && p.thin() {
		cannot = p.vg.Thin().Disagreement(ctx)
	}
	reported, err := p.vg.Report(ctx)
	if err != nil {
		return volume.PoolStatus{}, err
	}
	if err := p.checkReport(reported); err != nil {
		return volume.PoolStatus{}, err
	}
	g := &reported.Layout
	r, err := p.reportedRoom(reported)
	if err != nil {
		return volume.PoolStatus{}, err
	}
	if cannot != nil && g.Missing == 0 { // without a disk, that is what is to be said
		klog.FromContext(ctx).Error(cannot, "nothing can be made in a thin pool", "pool", p.name)
		r.free, r.largest = 0, 0
		r.trouble = strings.TrimSuffix(strings.TrimPrefix(cannot.Error(), fmt.Sprintf("pool %q: ", p.name))+"; "+r.trouble, "; ")
	} else if p.thin() {
		if held := p.vg.Thin().NumberTrouble(ctx); held != "" {
			r.free, r.largest, r.trouble = 0, 0, held
		}
	}
	if held := p.heldBack(reported); held != "" {
		r.free, r.largest, r.trouble = 0, 0, strings.TrimSuffix(held+"; "+r.trouble, "; ")
	}
	damage := p.damageIn(g)
	if p.logDamage(damage); r.trouble == "" { // and what is free can be had
		r.trouble = damage
	}
	p.space.Lock()
	making := p.space.making
	p.space.Unlock()
	extent := g.Extent
	return volume.PoolStatus{
		Pool: p.name, TotalBytes: p.bytes(r.total, extent), FreeBytes: p.bytes(max(r.free-making, 0), extent),
		LargestBytes: p.bytes(max(r.largest-making, 0), extent), LeastBytes: p.unit(), Fallbacks: p.vg.Fallbacks(), Held: p.held.Read(),
		Healthy: r.trouble == "", Message: cmp.Or(r.trouble, moves(g), r.note),
	}, nil
}
