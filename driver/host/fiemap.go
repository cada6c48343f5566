package host

import (
	"os"
	"unsafe"

	"github.com/loam-storage/loam/driver/volume"
)

// Extent is a piece of a file that has blocks of its own or shares them with other files.
type Extent struct {
	Logical  uint64 // where in the file it is, in bytes
	Physical uint64 // where the blocks are, in bytes; equal only for shared blocks
	Bytes    uint64
	Written  bool // else it is allocated only, and reads as zeros
}

// Layout of struct fiemap and fiemap_extent (Documentation/filesystems/fiemap.rst).
type fiemapHeader struct {
	start, length           uint64
	flags, mapped, count, _ uint32
}

type fiemapExtent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

const (
	fiemapExtents    = 128        // read by one call
	fiemapLast       = 0x00000001 // FIEMAP_EXTENT_LAST
	fiemapUnwritten  = 0x00000800 // FIEMAP_EXTENT_UNWRITTEN
	fiemapNoLocation = 0x00000002 | 0x00000004 | 0x00000200
	// FIEMAP_EXTENT_UNKNOWN, _DELALLOC and _DATA_INLINE: no blocks, or none yet.
)

// Extents calls visit with each extent of the file at path that has blocks, those that are allocated
// and not written to included.
func Extents(path string, visit func(Extent)) error {
	return ExtentsUntil(path, func(e Extent) bool {
		visit(e)
		return true
	})
}

// ExtentsUntil is Extents that ends where visit returns false.
func ExtentsUntil(path string, visit func(Extent) bool) error {
	f, err := os.Open(path)
	if err != nil {
		return failed("open", path, err)
	}
	defer f.Close() //nolint:errcheck // only read
	var request struct {
		fiemapHeader
		extents [fiemapExtents]fiemapExtent
	}
	for start := uint64(0); ; {
		request.fiemapHeader = fiemapHeader{start: start, length: ^uint64(0) - start, count: fiemapExtents}
		if err := ioctl(f, fsFiemap, unsafe.Pointer(&request)); err != nil {
			return failed("read the extents of", path, err)
		}
		if request.mapped > fiemapExtents {
			return volume.Errorf(volume.Internal, "read the extents of %q: the kernel answered %d of at most %d", path, request.mapped, fiemapExtents)
		}
		for _, e := range request.extents[:request.mapped] {
			if e.flags&fiemapNoLocation == 0 && !visit(Extent{Logical: e.logical, Physical: e.physical, Bytes: e.length, Written: e.flags&fiemapUnwritten == 0}) {
				return nil
			}
			start = e.logical + e.length
			if e.flags&fiemapLast != 0 {
				return nil
			}
		}
		if request.mapped == 0 {
			return nil
		}
	}
}
