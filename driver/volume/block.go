package volume

// LeastBlockBytes is the smallest logical block that a block device of Linux has, in bytes (SECTOR_SIZE).
const LeastBlockBytes Size = 512

// DefaultBlockBytes is the logical block size of a volume where neither its pool nor anybody else asks for
// another. Each loop volume of a release that did not record the size has it.
const DefaultBlockBytes Size = 4 * KiB

// CheckBlockBytes says whether a block device can have logical blocks of the given size: a power of two
// from 512 on. The kind of its error is Invalid.
func CheckBlockBytes(size Size) error {
	if size < LeastBlockBytes || size&(size-1) != 0 {
		return Errorf(Invalid, "logical blocks of %d bytes: no block device has them; the size is a power of two from %d on", int64(size), int64(LeastBlockBytes))
	}
	return nil
}

// PickBlockBytes returns the logical block size of a volume that is made as the spec says, in a pool whose
// own is own. A copy always has that of its source, for a file system made on one size may not mount on
// another; a source of 0, not recorded, is taken as what the spec asks for, else as own. The kind of its error is
// Invalid where the spec asks a copy to have another, or no device can have it.
func (s Spec) PickBlockBytes(source, own Size) (Size, error) {
	if s.BlockBytes != 0 {
		if err := CheckBlockBytes(s.BlockBytes); err != nil {
			return 0, err
		}
	}
	if s.Source != nil && source != 0 {
		if s.BlockBytes != 0 && s.BlockBytes != source {
			return 0, Errorf(Invalid, "logical blocks of %d bytes are asked for, but %s has %d, and a copy has those of its source: ask for none",
				int64(s.BlockBytes), s.Source, int64(source))
		}
		return source, nil
	}
	if s.BlockBytes != 0 {
		return s.BlockBytes, nil
	}
	return own, nil
}
