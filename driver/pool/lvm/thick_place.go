package lvm

import (
	"slices"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// place decides where an empty volume of the size comes to lie: on disks that are alike, so that its device has from the beginning the
// logical blocks that are recorded. Of several sizes it takes the largest that there is capacity for, for such a volume can
// grow onto all disks, and small blocks are left to the copies that need them. Full where no disks that are alike have capacity.
func (p *thick) place(g *vg.Layout, spec volume.Spec, size volume.Size) (placement, error) {
	if spec.BlockBytes != 0 {
		return p.placeWithin(g, spec, 0, size)
	}
	blocks, err := p.blocksOf(g)
	all := sizes(blocks)
	switch {
	case err != nil:
		return placement{}, err
	case len(all) == 0:
		return placement{}, nil // LVM says what is wrong
	case len(all) == 1:
		return placement{block: all[0]}, nil
	}
	var largest int64
	for _, block := range slices.Backward(all) {
		on := p.alike(g, blocks, block)
		_, one := p.shape.capacity(freeOn(g, on))
		if largest = max(largest, one); len(on) > 0 && p.cost(size) <= one {
			return placement{block, on}, nil
		}
	}
	return placement{}, volume.Errorf(volume.Full, "pool %q is full: %s at most can be made on disks that are alike, %s asked; %s", p.name, p.bytes(largest, g.Extent), size, mixedText(g, blocks))
}

// placeWithin decides where a volume may lie whose blocks are given, by the spec or by what it is a copy of: on disks with no
// larger ones. The kind of its error is Full where those have no capacity.
func (p *thick) placeWithin(g *vg.Layout, spec volume.Spec, source, size volume.Size) (placement, error) {
	block, err := spec.PickBlockBytes(source, source)
	if err != nil {
		return placement{}, volume.Errorf(volume.KindOf(err), "volume %q: %w", spec.ID, err)
	}
	on, err := p.growsOn(g, block, p.cost(size))
	return placement{block, on}, err
}

// growsOn returns the disks whose logical blocks are no larger than the given ones, none where that is all of them. The kind of
// its error is Full where they have no capacity for what is asked, in extents of each image.
func (p *thick) growsOn(g *vg.Layout, block volume.Size, cost int64) ([]string, error) {
	blocks, err := p.blocksOf(g)
	if err != nil {
		return nil, err
	}
	all := sizes(blocks)
	if block == 0 || len(all) == 0 || all[len(all)-1] <= block {
		return nil, nil
	}
	on := p.upTo(g, blocks, block)
	if _, one := p.shape.capacity(freeOn(g, on)); len(on) == 0 || cost > one {
		return nil, volume.Errorf(volume.Full, "pool %q: %s are needed on disks with logical blocks of at most %d bytes, which have room for %s; on larger ones a file system that was made on those cannot be mounted. %s",
			p.name, p.bytes(cost+p.shape.meta, g.Extent), int64(block), p.bytes(one, g.Extent), mixedText(g, blocks))
	}
	return on, nil
}

// alike returns the disks on which a volume certainly shows blocks of that size: those that have it and, where disks with smaller
// ones are too few for a volume without one of these, all up to it.
func (p *thick) alike(g *vg.Layout, blocks map[string]volume.Size, block volume.Size) []string {
	smaller := p.upTo(g, blocks, block-1)
	all := p.upTo(g, blocks, block)
	if len(smaller) < p.shape.images {
		return all
	}
	return slices.DeleteFunc(all, func(d string) bool { return slices.Contains(smaller, d) })
}
