package loop

import (
	"cmp"
	"path/filepath"
	"slices"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// measured is what a pool has and owes.
type measured struct {
	total volume.Size // that could be given out were there no volume
	need  volume.Size // that the images may come to need
	free  volume.Size // that can be given out now; negative where more is owed than there is
}

// measure adds up what the images may come to need and what they have. The need of a volume is its
// size. The need of a snapshot is the bytes it holds: they may all become its own when its volume is
// written to. What they have is the blocks of all of them, shared ones once.
func (p *Pool) measure() (measured, error) {
	images, shares, err := p.images()
	if err != nil {
		return measured{}, err
	}
	var need, have volume.Size
	if shares {
		need, have, err = needOfShared(images)
	} else {
		need, have, err = needOf(images)
	}
	if err == nil {
		err = p.here()
	}
	if err != nil {
		return measured{}, err
	}
	// Last: what is being allocated meanwhile is then rather counted twice than not at all.
	usage, err := p.machine.Usage(p.root)
	if err != nil {
		return measured{}, err
	}
	total := volume.Size(usage.AvailableBytes) + have - p.config.reserve(volume.Size(usage.TotalBytes))
	total = volume.Size(float64(total) * p.config.ratio())
	return measured{total: total, need: need, free: total - need}, nil
}

// image is an image file and what has been promised for it.
type image struct {
	path     string
	promised volume.Size // of what is being made
	snapshot bool
}

// images lists all images of the pool, and says whether some may share blocks. Only if any might when
// it was last called does it look: new ones that may come from takeForCopy alone.
func (p *Pool) images() (images []image, shares bool, err error) {
	p.state.Lock()
	defer p.state.Unlock()
	volumes, err := p.namesIn(volumesDir, "", 0)
	if err != nil {
		return nil, false, err
	}
	snapshots, err := p.snapshotDirs()
	if err != nil {
		return nil, false, err
	}
	shares = len(snapshots) > 0
	add := func(dir string, i image) error {
		i.path = filepath.Join(dir, imageName)
		images = append(images, i)
		if !p.shares || shares {
			return nil
		}
		shares, err = exists(filepath.Join(dir, copyMark))
		return err
	}
	for _, name := range volumes {
		if err := add(p.volumeDir(name), image{}); err != nil {
			return nil, false, err
		}
	}
	for _, s := range snapshots {
		if err := add(s.dir, image{snapshot: true}); err != nil {
			return nil, false, err
		}
	}
	for dir, m := range p.making {
		images = append(images, image{path: filepath.Join(dir, imageName), promised: m.bytes, snapshot: m.snapshot})
		shares = shares || m.copy
	}
	p.shares = shares
	return images, shares, nil
}

// needOf measures images of which none shares a block. Blocks that an image has beyond its size, which
// a cut-off allocation may have left, are not what it needs them for.
func needOf(images []image) (need, have volume.Size, err error) {
	for _, i := range images {
		size, blocks, err := host.Allocated(i.path)
		if volume.Is(err, volume.NotFound) {
			size, blocks = 0, 0 // gone, or not there yet
		} else if err != nil {
			return 0, 0, err
		}
		size = max(size, i.promised)
		need += size
		have += min(blocks, size)
	}
	return need, have, nil
}

// needOfShared measures images that may share blocks, and counts each block once.
func needOfShared(images []image) (need, have volume.Size, err error) {
	var extents []host.Extent
	for _, i := range images {
		size, _, err := host.Allocated(i.path)
		if volume.Is(err, volume.NotFound) {
			need += i.promised
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		size = max(size, i.promised)
		var held volume.Size
		err = host.Extents(i.path, func(e host.Extent) {
			if e.Logical >= uint64(size) {
				return
			}
			e.Bytes = min(e.Bytes, uint64(size)-e.Logical)
			held += volume.Size(e.Bytes)
			extents = append(extents, e)
		})
		if err != nil && !volume.Is(err, volume.NotFound) {
			return 0, 0, err
		}
		if i.snapshot {
			need += max(held, i.promised)
		} else {
			need += size
		}
	}
	return need, unionBytes(extents), nil
}

// unionBytes returns how many bytes of a disk the extents cover together.
func unionBytes(extents []host.Extent) volume.Size {
	slices.SortFunc(extents, func(a, b host.Extent) int { return cmp.Compare(a.Physical, b.Physical) })
	var covered, end uint64
	for _, e := range extents {
		start := max(e.Physical, end)
		if last := e.Physical + e.Bytes; last > start {
			covered += last - start
			end = last
		}
	}
	return volume.Size(covered)
}
