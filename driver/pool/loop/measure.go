package loop

import (
	"cmp"
	"context"
	"slices"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// measured is what a pool has and owes.
type measured struct {
	total    volume.Size // that could be given out were there no volume
	need     volume.Size // that the images may come to need
	free     volume.Size // that can be given out now; negative where more is owed than there is
	size     volume.Size // of the file system
	reserved volume.Size // that the configuration keeps back of it
	exact    bool        // else free is what there is at least
}

// fewExtentsOf is how many extents a call goes through by itself to say how much room there is: it takes a few milliseconds.
const fewExtentsOf = 4_000

// room says what the pool has and owes within a moment: exactly where its images share no blocks or have few extents, and else
// at least, from what was found when they were last gone through.
func (p *Pool) room() (measured, error) {
	images, shares, err := p.images()
	if err != nil {
		return measured{}, err
	}
	if !shares {
		need, have, err := needOf(images)
		return p.measuredOf(need, have, true, err)
	}
	if p.lock == nil { // only looked at, by a process that ends then
		need, have, err := needOfShared(context.Background(), images, 0)
		return p.measuredOf(need, have, true, err)
	}
	need, have, err := needOfShared(context.Background(), images, fewExtentsOf)
	if err != errTooMany { //nolint:errorlint // it is returned as it is
		return p.measuredOf(need, have, true, err)
	}
	return p.roomAtLeast(images)
}

// measureFor says what the pool has and owes. Where what there is at least is not enough, it says so exactly, which takes
// seconds where a million extents are shared.
func (p *Pool) measureFor(enough func(measured) bool) (measured, error) {
	m, err := p.room()
	if err != nil || m.exact || enough(m) {
		return m, err
	}
	return p.survey(context.Background())
}

// measuredOf makes the figures of what the images may come to need and what they have. The need of a volume is its
// size. The need of a snapshot is the bytes it holds: they may all become its own when its volume is
// written to. What they have is the blocks of all of them, shared ones once.
func (p *Pool) measuredOf(need, have volume.Size, exact bool, err error) (measured, error) {
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
	return p.figures(need, have, volume.Size(usage.AvailableBytes), volume.Size(usage.TotalBytes), exact), nil
}

func (p *Pool) figures(need, have, available, size volume.Size, exact bool) measured {
	reserved := p.config.Reserve(size)
	total := volume.Size(float64(available+have-reserved) * p.config.Ratio())
	return measured{total: total, need: need, free: total - need, size: size, reserved: reserved, exact: exact}
}

// needOf measures images of which none shares a block. Blocks that an image has beyond its size, which
// a cut-off allocation may have left, are not what it needs them for.
func needOf(images []image) (need, have volume.Size, err error) {
	for _, i := range images {
		size, blocks, err := i.allocated()
		if err != nil {
			return 0, 0, err
		}
		need += size
		have += min(blocks, size)
	}
	return need, have, nil
}

// errTooMany is what needOfShared returns where there are more extents than it may go through.
var errTooMany = volume.Errorf(volume.Internal, "there are more extents than can be gone through in a moment")

// needOfShared measures images that may share blocks, and counts each block once. Where most is not 0, it goes through as
// many extents at most.
func needOfShared(ctx context.Context, images []image, most int) (need, have volume.Size, err error) {
	var extents []host.Extent
	for _, i := range images {
		size, _, err := i.allocated()
		if err != nil {
			return 0, 0, err
		}
		var held volume.Size
		err = host.ExtentsUntil(i.path, func(e host.Extent) bool {
			if e.Logical < uint64(size) {
				e.Bytes = min(e.Bytes, uint64(size)-e.Logical)
				held += volume.Size(e.Bytes)
				extents = append(extents, e)
			}
			return ctx.Err() == nil && (most == 0 || len(extents) <= most)
		})
		switch {
		case err != nil && !volume.Is(err, volume.NotFound):
			return 0, 0, err
		case ctx.Err() != nil:
			return 0, 0, ctx.Err()
		case most != 0 && len(extents) > most:
			return 0, 0, errTooMany
		case i.snapshot:
			need += max(held, i.promised)
		default:
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
