package host

import (
	"bytes"
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// copyStep is how much is read and written at once.
const copyStep = 4 * volume.MiB

// CopyDevice makes the first size bytes of one block device those of another, durably, past the page cache.
// What is zeros is not sent, but made zeros by the device itself where it can (BLKZEROOUT). It calls progress after
// each few MiB. The kind of its error is Unavailable where ctx ended it.
func CopyDevice(ctx context.Context, to, from string, size volume.Size, progress func(done volume.Size)) (err error) {
	in, err := os.OpenFile(from, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return failed("open", from, err)
	}
	defer in.Close() //nolint:errcheck // only read
	out, err := os.OpenFile(to, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		return failed("open", to, err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	buffer, err := directMemory(int(copyStep))
	if err != nil {
		return failed("get memory to copy", from, err)
	}
	defer func() { err = errors.Join(err, unix.Munmap(buffer)) }()
	zeros := make([]byte, copyStep)
	for at := volume.Size(0); at < size; at += copyStep {
		if err := ctx.Err(); err != nil {
			return volume.Errorf(volume.Unavailable, "copy %q: %w", from, err)
		}
		piece := buffer[:min(copyStep, size-at)]
		if _, err := in.ReadAt(piece, int64(at)); err != nil {
			return failed("read", from, err)
		}
		if bytes.Equal(piece, zeros[:len(piece)]) {
			_, err = wipeBytes(out, at, volume.Size(len(piece)), WipeZero)
		} else {
			_, err = out.WriteAt(piece, int64(at))
			err = failed("write", to, err)
		}
		if err != nil {
			return err
		}
		progress(at + volume.Size(len(piece)))
	}
	return failed("flush", to, out.Sync())
}
