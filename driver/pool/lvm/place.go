package lvm

import (
	"context"
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

// place decides where an empty volume of the size comes to lie: on disks that are alike, so that its device has from the beginning the
// logical blocks that are recorded. Of several sizes it takes the largest that there is room for, for such a volume can
// grow onto all disks, and small blocks are left to the copies that need them. Full where no disks that are alike have room.
func (p *Pool) place(g *vg.Layout, spec volume.Spec, size volume.Size) (placement, error) {
	if spec.BlockBytes != 0 {
		return p.placeWithin(g, spec, 0, size)
	}
	blocks, err := p.blocksOf(g)
	all := sizes(blocks)
	switch {
	case err != nil:
		return placement{}, err
	case p.thin():
		return p.placeWithin(g, spec, 0, size)
	case len(all) == 0:
		return placement{}, nil // LVM says what is wrong
	case len(all) == 1:
		return placement{block: all[0]}, nil
	}
	var largest int64
	for _, block := range slices.Backward(all) {
		on := p.alike(g, blocks, block)
		_, one := p.shape.room(freeOn(g, on))
		if largest = max(largest, one); len(on) > 0 && p.cost(size) <= one {
			return placement{block, on}, nil
		}
	}
	return placement{}, volume.Errorf(volume.Full, "pool %q is full: %s at most can be made on disks that are alike, %s asked; %s", p.name, p.bytes(largest, g.Extent), size, mixedText(g, blocks))
}

// placeWithin decides where a volume may lie whose blocks are given, by the spec or by what it is a copy of: on disks with no
// larger ones. The kind of its error is Full where those have no room, and InUse where a thin pool cannot have them.
func (p *Pool) placeWithin(g *vg.Layout, spec volume.Spec, source, size volume.Size) (placement, error) {
	own := source
	if p.thin() {
		blocks, err := p.blocksOf(g)
		if err != nil {
			return placement{}, err
		}
		own = p.shown(g, vg.LV{Name: p.config.ThinPool}, blocks)
	}
	block, err := spec.PickBlockBytes(source, own)
	if err != nil {
		return placement{}, volume.Errorf(volume.KindOf(err), "volume %q: %w", spec.ID, err)
	}
	if p.thin() {
		if block != 0 && own > block {
			return placement{}, volume.Errorf(volume.InUse, "pool %q: volume %q is to have logical blocks of %d bytes, and thin pool %q lies on disks with %d: pvmove %s/%[4]s_tdata to disks with small ones", p.name, spec.ID, int64(block), p.config.ThinPool, int64(own), g.Name)
		}
		return placement{block: block}, nil
	}
	on, err := p.fitting(g, block, p.cost(size))
	return placement{block, on}, err
}

// placeCopy is placeWithin for a copy of that logical volume.
func (p *Pool) placeCopy(g *vg.Layout, spec volume.Spec, source vg.LV, size volume.Size) (placement, error) {
	block, err := p.blockOf(g, source)
	if err != nil {
		return placement{}, err
	}
	return p.placeWithin(g, spec, block, size)
}

// fitting returns the disks whose logical blocks are no larger than the given ones, none where that is all of them. The kind of
// its error is Full where they have no room for what is asked, in extents of each image.
func (p *Pool) fitting(g *vg.Layout, block volume.Size, cost int64) ([]string, error) {
	blocks, err := p.blocksOf(g)
	if err != nil {
		return nil, err
	}
	all := sizes(blocks)
	if block == 0 || len(all) == 0 || all[len(all)-1] <= block {
		return nil, nil
	}
	on := p.upTo(g, blocks, block)
	if _, room := p.shape.room(freeOn(g, on)); len(on) == 0 || cost > room {
		return nil, volume.Errorf(volume.Full, "pool %q: %s are needed on disks with logical blocks of at most %d bytes, which have room for %s; on larger ones a file system that was made on those cannot be mounted. %s",
			p.name, p.bytes(cost+p.shape.meta, g.Extent), int64(block), p.bytes(room, g.Extent), mixedText(g, blocks))
	}
	return on, nil
}

// growsOn is fitting for a volume that is to get so much larger. A thin one takes nothing of a disk itself.
func (p *Pool) growsOn(ctx context.Context, block volume.Size, cost int64) ([]string, error) {
	if p.thin() {
		return nil, nil
	}
	g, err := p.vg.Layout(ctx)
	if err != nil {
		return nil, err
	}
	return p.fitting(g, block, cost)
}

// extendsOn returns the disks that a part of the thin pool may be extended on, none where that is any, and their free extents. The blocks of
// its volumes are those of its data; metadata may be anywhere.
func (p *Pool) extendsOn(g *vg.Layout, what string) (on []string, free int64, err error) {
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
func (p *Pool) upTo(g *vg.Layout, blocks map[string]volume.Size, block volume.Size) (on []string) {
	for _, d := range g.Disks {
		if has, ok := blocks[d.Path]; ok && has <= block && d.Allocatable && !d.Missing {
			on = append(on, d.Path)
		}
	}
	return on
}

// alike returns the disks on which a volume certainly shows blocks of that size: those that have it and, where disks with smaller
// ones are too few for a volume without one of these, all up to it.
func (p *Pool) alike(g *vg.Layout, blocks map[string]volume.Size, block volume.Size) []string {
	smaller := p.upTo(g, blocks, block-1)
	all := p.upTo(g, blocks, block)
	if len(smaller) < p.shape.images {
		return all
	}
	return slices.DeleteFunc(all, func(d string) bool { return slices.Contains(smaller, d) })
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
