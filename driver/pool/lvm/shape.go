package lvm

import (
	"slices"
	"strconv"

	"github.com/loam-storage/loam/driver/volume"
)

// kindOfShape is what one type of thick volume needs.
type kindOfShape struct {
	leastStripes int  // 0: it has no stripes
	mirrors      bool // it has further copies
	parity       int  // images with parity
	raid         bool // each image has an extent of metadata beside it
}

var shapes = map[Type]kindOfShape{
	"":      {},
	Linear:  {},
	Striped: {leastStripes: 2},
	RAID1:   {mirrors: true, raid: true},
	RAID5:   {leastStripes: 2, parity: 1, raid: true},
	RAID6:   {leastStripes: 3, parity: 2, raid: true},
	RAID10:  {leastStripes: 2, mirrors: true, raid: true},
}

// maxImages is how many disks a volume is spread over at most, which LVM itself sets for RAID.
const maxImages = 64

func (c Config) checkShape() error {
	s := shapes[c.Type]
	switch {
	case c.Stripes != 0 && s.leastStripes == 0:
		return volume.Errorf(volume.Invalid, "stripes is for striped, raid5, raid6 and raid10")
	case c.Stripes != 0 && c.Stripes < s.leastStripes:
		return volume.Errorf(volume.Invalid, "stripes %d is less than the %d that %s needs", c.Stripes, s.leastStripes, c.Type)
	case c.Mirrors != 0 && !s.mirrors:
		return volume.Errorf(volume.Invalid, "mirrors is for raid1 and raid10")
	case c.Mirrors < 0 || c.Mirrors > maxImages || c.Stripes > maxImages || c.shape().images > maxImages:
		return volume.Errorf(volume.Invalid, "stripes %d and mirrors %d are more than %d disks", c.Stripes, c.Mirrors, maxImages)
	}
	return nil
}

// shape is how the volumes of a pool lie on the disks: as images on as many disks, of which some hold
// data that the others do not.
type shape struct {
	images int   // disks that a volume needs
	data   int64 // images whose bytes add up to the volume's
	meta   int64 // extents that each image takes for itself
	args   []string
}

func (c Config) shape() shape {
	k := shapes[c.Type]
	stripes, copies := max(c.Stripes, k.leastStripes, 1), 1
	if k.mirrors {
		copies += max(c.Mirrors, 1)
	}
	s := shape{images: stripes*copies + k.parity, data: int64(stripes)}
	if k.raid {
		s.meta = 1
	}
	if c.Type != "" && c.Type != Linear {
		s.args = append(s.args, "--type", string(c.Type))
	}
	if k.leastStripes > 0 {
		s.args = append(s.args, "--stripes", strconv.Itoa(stripes))
	}
	if k.mirrors {
		s.args = append(s.args, "--mirrors", strconv.Itoa(copies-1))
	}
	return s
}

// cost returns how many extents each image of a volume of so many bytes takes.
func (s shape) cost(size, extent volume.Size) int64 {
	unit := extent * volume.Size(s.data)
	return int64(size.RoundUp(unit)/unit) + s.meta
}

// capacity returns how many extents images of further volumes can have together, and the largest single
// image, given the free extents of each disk. Images of one volume are on disks of their own, so what
// only one disk has left is no capacity for a mirror. It takes from the fullest disks first, as LVM does.
func (s shape) capacity(free []int64) (total, largest int64) {
	if s.images == 1 {
		for _, n := range free {
			total += n
		}
		return total, total
	}
	free = slices.Clone(free)
	for len(free) >= s.images {
		slices.SortFunc(free, func(a, b int64) int { return int(b - a) })
		n := free[s.images-1]
		if n == 0 {
			break
		}
		if total == 0 {
			largest = n
		}
		total += n
		for i := range s.images {
			free[i] -= n
		}
	}
	return total, largest
}

// bytes returns what a volume can have whose images have so many extents.
func (s shape) bytes(extents int64, extent volume.Size) volume.Size {
	return volume.Size(max(extents-s.meta, 0)*s.data) * extent
}
