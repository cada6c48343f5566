package host

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// Wiping is a way to make blocks read as zeros.
type Wiping int

// The ways to wipe.
const (
	WipeCheapest Wiping = iota // discard where that guarantees zeros, else write them
	WipeDiscard                // discard, Unsupported where the device does not guarantee zeros
	WipeZero                   // write zeros, or have the device do it, and keep the blocks
)

// wipeStep is how much one call asks for, so that a device has no request that takes minutes.
const wipeStep = 256 * volume.MiB

// Wipe makes the bytes of a block device from offset from up to offset to read as zeros, durably. A
// hole punched into a device either makes zeros for certain or is refused by the kernel
// (block/fops.c, BLKDEV_ZERO_NOFALLBACK), and BLKZEROOUT lets the device do what it can and writes the
// rest. Where ctx ends it stops between two calls to the device, with an error whose kind is Unavailable.
func Wipe(ctx context.Context, device string, from, to volume.Size, way Wiping) (err error) {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return failed("open", device, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for at := from; at < to; at += wipeStep {
		if ctx.Err() != nil {
			return volume.Errorf(volume.Unavailable, "wipe %s: %d of %d bytes are done: %w", device, int64(at-from), int64(to-from), context.Cause(ctx))
		}
		if way, err = wipeBytes(f, at, min(wipeStep, to-at), way); err != nil {
			return err
		}
	}
	return failed("flush", device, f.Sync())
}

// wipeBytes returns the way that worked.
func wipeBytes(f *os.File, at, length volume.Size, way Wiping) (Wiping, error) {
	if way != WipeZero {
		err := interrupted(func() error {
			return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(at), int64(length))
		})
		switch {
		case err == nil:
			return way, nil
		case !errors.Is(err, unix.EOPNOTSUPP):
			return way, failed("discard", f.Name(), err)
		case way == WipeDiscard:
			return way, volume.Errorf(volume.Unsupported, "%s does not guarantee zeros for what is discarded: wipe with zero instead", f.Name())
		}
	}
	return WipeZero, failed("write zeros to", f.Name(), ioctlZeroOut(f, uint64(at), uint64(length)))
}
