package lvm

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// A disk can be read and written in logical blocks of 512 bytes or, where it is of another kind, of 4096; a device that lies
// on several disks has the largest of theirs. A file system that was made on small ones cannot be mounted on larger ones. LVM
// refuses to have both in one group, unless devices/allow_mixed_block_sizes says otherwise, and then gives out either. So in such
// a group each command that takes space for a volume is given the disks that fit. Where all disks are alike, no command is.

// blocksOf returns the size of a logical block of each disk of the group that is there, by its path.
func (p *ground) blocksOf(g *vg.Layout) (map[string]volume.Size, error) {
	blocks := map[string]volume.Size{}
	for _, d := range g.Disks {
		if d.Missing || !strings.HasPrefix(d.Path, "/") {
			continue
		}
		size, err := p.diskBlock(d.Path)
		if err != nil {
			return nil, volume.Errorf(volume.Unavailable, "pool %q: how large the logical blocks of disk %s are: %w", p.name, d.Path, err)
		}
		blocks[d.Path] = size
	}
	return blocks, nil
}

// sizes returns the different sizes, the smallest first.
func sizes(blocks map[string]volume.Size) []volume.Size {
	return slices.Compact(slices.Sorted(maps.Values(blocks)))
}

// dataPart matches what is behind the name of a logical volume in that of a hidden one that has bytes of it.
var dataPart = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(_tdata)?(_rimage_[0-9]+)?(_iorig)?$`) })

// shown returns the size of the logical blocks that a logical volume has where it lies now: the largest of its disks'. One
// in a thin pool has those of the pool. 0 where none of its disks is there.
func (p *ground) shown(g *vg.Layout, l vg.LV, blocks map[string]volume.Size) (largest volume.Size) {
	if all := sizes(blocks); len(all) == 1 {
		return all[0]
	}
	name := l.Name
	if l.Pool != "" {
		name = l.Pool
	}
	for _, part := range g.LVs {
		rest, ok := strings.CutPrefix(part.Name, name)
		if !ok || !dataPart().MatchString(rest) {
			continue
		}
		for _, r := range part.Ranges() {
			largest = max(largest, blocks[r.Disk])
		}
	}
	return largest
}

// blockOf returns the size of the logical blocks that belong to a volume or snapshot: what was recorded when it was made, and
// where a release has made it that did not record it, what it has now.
func (p *ground) blockOf(g *vg.Layout, l vg.LV) (volume.Size, error) {
	r, err := readRecord(l.Tags)
	if err != nil || r.BlockBytes != 0 {
		return r.BlockBytes, err
	}
	blocks, err := p.blocksOf(g)
	if err != nil {
		return 0, err
	}
	if origin, ok := g.Find(l.Origin); ok && l.IsCOW() { // it shows what its volume does
		l = origin
	}
	return p.shown(g, l, blocks), nil
}

// withBlock adds the size of its logical blocks to a volume that has none recorded. Nobody knows it while its disks are away.
func (p *ground) withBlock(g *vg.Layout, l vg.LV, v volume.Volume) volume.Volume {
	if v.BlockBytes == 0 {
		v.BlockBytes, _ = p.blockOf(g, l)
	}
	return v
}

// mixedText says which logical blocks the disks of a group have, where they are not alike.
func mixedText(g *vg.Layout, blocks map[string]volume.Size) string {
	var parts []string
	for _, size := range sizes(blocks) {
		var on []string
		for _, d := range slices.Sorted(maps.Keys(blocks)) {
			if blocks[d] == size {
				on = append(on, d)
			}
		}
		parts = append(parts, fmt.Sprintf("%d on %s", int64(size), strings.Join(on, ", ")))
	}
	return fmt.Sprintf("volume group %q has logical blocks of different sizes (bytes): %s", g.Name, strings.Join(parts, "; "))
}

// fits says whether the device of a volume has, or will have, no larger logical blocks than belong to it. The kind of its error is
// InUse.
func (p *Pool) fits(ctx context.Context, v volume.Volume, l vg.LV) error {
	if v.BlockBytes == 0 {
		return nil
	}
	var has volume.Size
	if v.Attached() {
		size, err := p.diskBlock(v.Device)
		if err != nil {
			return volume.Errorf(volume.KindOf(err), "volume %q: how large the logical blocks of its device are: %w", v.ID, err)
		}
		has = size
	} else {
		g, err := p.vg.Layout(ctx)
		if err != nil {
			return err
		}
		blocks, err := p.blocksOf(g)
		if err != nil {
			return err
		}
		has = p.shown(g, l, blocks)
	}
	if has <= v.BlockBytes {
		return nil
	}
	return volume.Errorf(volume.InUse, "volume %q was made with logical blocks of %d bytes and lies on a disk with %d now, where its file system cannot be mounted: see lvs -a -o +devices %s, and pvmove --name %s from that disk to one with blocks of %[2]d",
		v.ID, int64(v.BlockBytes), int64(has), p.config.VolumeGroup, p.layout.lies(l))
}

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
