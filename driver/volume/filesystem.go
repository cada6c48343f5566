package volume

import "slices"

// FSType names a file system as mount(8) and the CSI fs_type field do.
type FSType string

// The file systems that loam makes and mounts.
const (
	Ext4  FSType = "ext4"
	XFS   FSType = "xfs"
	Btrfs FSType = "btrfs"
)

// DefaultFSType is what a volume is formatted with when nobody says otherwise.
const DefaultFSType = Ext4

// FSTypes lists the file systems that loam makes, the default one first.
func FSTypes() []FSType { return []FSType{Ext4, XFS, Btrfs} }

// Least returns the smallest device on which this file system is made: mkfs.xfs refuses less than
// 300 MiB since xfsprogs 5.19, and the kernel resizes no btrfs to less than 256 MiB, not even to the
// size that it has, so a smaller one could be mounted but not staged again.
func (t FSType) Least() Size {
	switch t {
	case XFS:
		return 300 * MiB
	case Btrfs:
		return 256 * MiB
	default:
		return 1 * MiB
	}
}

// ParseFSType reads the CSI fs_type field. The empty text is the empty FSType, "whatever is there,
// or the default". The kind of its error is Invalid.
func ParseFSType(text string) (FSType, error) {
	t := FSType(text)
	if text != "" && !slices.Contains(FSTypes(), t) {
		return "", Errorf(Invalid, "file system type %q: loam makes ext4, xfs and btrfs", printable(text))
	}
	return t, nil
}

// Mark says who has written the bytes of a volume: whether a file system may be made on it, which is a permission for one
// time, and whether one that is found there may be mounted. It is kept by the pool with the volume and only ever
// moves forward: Fresh, Formatting, Used, Block.
type Mark string

const (
	// Fresh: nobody but loam has had the device. It reads as zeros.
	Fresh Mark = "fresh"
	// Formatting: mkfs was started. What is on the device, if anything, is what is left of it, for
	// nothing is mounted or handed out while this mark stands.
	Formatting Mark = "formatting"
	// Used: the device may hold data. Nothing is ever formatted. Clones and restored volumes are
	// born with it.
	Used Mark = "used"
	// Block: a user has had the device itself for writing, and may have put anything there, also what looks like a
	// file system and makes the kernel or fsck of the node fail. Copies of such a volume are born with it.
	Block Mark = "block"
)

// HoldsData reports whether there may be data that somebody else than mkfs has written.
func (m Mark) HoldsData() bool { return m == Used || m == Block }

// OfCopy returns the mark that a copy of a volume with mark m is born with.
func (m Mark) OfCopy() Mark {
	if m == Block {
		return Block
	}
	return Used
}

// Follows reports whether a volume that carries mark m may be given mark next.
func (m Mark) Follows(next Mark) bool {
	order := []Mark{Fresh, Formatting, Used, Block}
	return slices.Index(order, next) >= slices.Index(order, m) && slices.Contains(order, next) && slices.Contains(order, m)
}
