package lvm

import (
	"slices"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// placement is where a thick volume may lie, and what is recorded of that.
type placement struct {
	block volume.Size // of a logical block
	on    []string    // the disks that LVM may take; none: any
}

// apply returns the spec of a volume that is made there: what it records of its blocks.
func (at placement) apply(spec volume.Spec) volume.Spec {
	spec.BlockBytes = at.block
	return spec
}

// placeCopy is placeWithin for a copy of that logical volume.
func (p *account) placeCopy(g *vg.Layout, spec volume.Spec, source vg.LV, size volume.Size) (placement, error) {
	block, err := p.blockOf(g, source)
	if err != nil {
		return placement{}, err
	}
	return p.layout.placeWithin(g, spec, block, size)
}

// extendsOn returns the disks that a part of the thin pool may be extended on, none where that is any, and their free extents. The blocks of
// its volumes are those of its data; metadata may be anywhere.
func (p *account) extendsOn(g *vg.Layout, what string) (on []string, free int64, err error) {
	blocks, err := p.blocksOf(g)
	if err != nil {
		return nil, 0, err
	}
	all := sizes(blocks)
	has := p.shown(g, vg.LV{Name: p.config.ThinPool}, blocks)
	if what != "data" || has == 0 || all[len(all)-1] <= has {
		return nil, g.Free(), nil
	}
	on = p.upTo(g, blocks, has)
	for _, n := range freeOn(g, on) {
		free += n
	}
	return on, free, nil
}

// upTo returns the paths of disks that may be used, with blocks no larger than the given ones.
func (p *ground) upTo(g *vg.Layout, blocks map[string]volume.Size, block volume.Size) (on []string) {
	for _, d := range g.Disks {
		if has, ok := blocks[d.Path]; ok && has <= block && d.Allocatable && !d.Missing {
			on = append(on, d.Path)
		}
	}
	return on
}

// freeOn returns the free extents of those disks.
func freeOn(g *vg.Layout, on []string) (free []int64) {
	for _, d := range g.Disks {
		if slices.Contains(on, d.Path) {
			free = append(free, d.Free)
		}
	}
	return free
}
