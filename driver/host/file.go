package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// Preallocate takes the blocks of a file from offset from up to offset to, and then makes it that
// large. Blocks it takes read as zeros. A full file system is Full, and the file is as it was.
func Preallocate(f *os.File, from, to volume.Size) error {
	if to <= from {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return failed("look at", f.Name(), err)
	}
	// With the size kept, a file that could be allocated only in part still has its old size.
	err = interrupted(func() error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, int64(from), int64(to-from))
	})
	if err != nil {
		undone := f.Truncate(info.Size()) // which frees what is behind it; punching a hole there does not, on ext4
		kind := volume.Internal
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			return noSpace(f, fmt.Sprintf("allocate %s for", to-from), errors.Join(err, undone))
		} else if errors.Is(err, unix.EFBIG) {
			kind = volume.OutOfRange
		}
		return volume.Errorf(kind, "allocate %s for %q: %w", to-from, f.Name(), errors.Join(err, undone))
	}
	return SetSize(f, to)
}

// noSpace says how much the file system of f has left, where that was too little.
func noSpace(f *os.File, what string, err error) error {
	var s unix.Statfs_t
	if statErr := unix.Fstatfs(int(f.Fd()), &s); statErr != nil {
		return volume.Errorf(volume.Full, "%s %q: %w", what, f.Name(), err)
	}
	return volume.Errorf(volume.Full, "%s %q: %w: its file system has %s left of %s", what, f.Name(), err, volume.Size(int64(s.Bavail)*s.Bsize), volume.Size(int64(s.Blocks)*s.Bsize))
}

// FillHoles takes blocks for what the file has none yet, up to size. What is there stays as it is.
func FillHoles(f *os.File, size volume.Size) error {
	err := interrupted(func() error { return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, int64(size)) })
	return failed("allocate", f.Name(), err)
}

// SetSize makes the file that large, without taking blocks.
func SetSize(f *os.File, size volume.Size) error {
	info, err := f.Stat()
	if err != nil {
		return failed("look at", f.Name(), err)
	}
	if info.Size() == int64(size) {
		return nil
	}
	err = f.Truncate(int64(size))
	if errors.Is(err, unix.EFBIG) {
		return volume.Errorf(volume.OutOfRange, "the file system of %q has no file of %s", f.Name(), size)
	}
	return failed("resize", f.Name(), err)
}

// Reflink makes to share the blocks of from (FICLONE), which takes no space until one of them is
// written to, and one instant of from. It reports false where the file system cannot do that.
func Reflink(to, from *os.File) (bool, error) {
	return reflinkBy(from, func() error { return unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) })
}

func reflinkBy(from *os.File, clone func() error) (bool, error) {
	err := interrupted(clone)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EXDEV), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOTTY):
		return false, nil
	case errors.Is(err, unix.ENOSPC):
		return false, noSpace(from, "share the blocks of", err)
	default:
		return false, failed("share the blocks of", from.Name(), err)
	}
}

// How long a piece of ReflinkInPieces is to take, and how large the pieces are.
const (
	pieceLeast, pieceMost = 20 * time.Millisecond, 100 * time.Millisecond
	pieceMin, pieceMax    = 1 << 20, 1 << 34
)

// ReflinkInPieces is Reflink in pieces that take a moment each, between which it calls beat, whose error ends it, and who
// writes to from gets his turn. It is of one instant only where nobody does. What the two files share already is shared
// on, and costs a tenth of what is shared anew on xfs.
func ReflinkInPieces(to, from *os.File, beat func() error) (bool, error) {
	info, err := from.Stat()
	if err != nil {
		return false, failed("look at", from.Name(), err)
	}
	if err := SetSize(to, volume.Size(info.Size())); err != nil {
		return false, err
	}
	for at, piece := int64(0), int64(64<<20); at < info.Size(); {
		start, length := time.Now(), min(piece, info.Size()-at)
		shared, err := reflinkBy(from, func() error {
			return unix.IoctlFileCloneRange(int(to.Fd()), &unix.FileCloneRange{Src_fd: int64(from.Fd()), Src_offset: uint64(at), Src_length: uint64(length), Dest_offset: uint64(at)})
		})
		if err != nil || !shared {
			return shared, err
		}
		if err := beat(); err != nil {
			return true, err
		}
		at += length
		if took := time.Since(start); took < pieceLeast {
			piece = min(2*piece, pieceMax)
		} else if took > pieceMost {
			piece = max(piece/2, pieceMin)
		}
	}
	return true, nil
}

// CopySparse copies what is not a hole (lseek(2), SEEK_DATA) and calls beat after each few MiB, whose
// error ends it.
func CopySparse(ctx context.Context, to, from *os.File, beat func() error) error {
	const step = 4 << 20
	for end := int64(0); ; {
		start, err := unix.Seek(int(from.Fd()), end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return failed("find the data of", from.Name(), err)
		}
		if end, err = unix.Seek(int(from.Fd()), start, unix.SEEK_HOLE); err != nil {
			return failed("find the holes of", from.Name(), err)
		}
		for at := start; at < end; at += step {
			if err := ctx.Err(); err != nil {
				return volume.Errorf(volume.Unavailable, "copy %q: %w", from.Name(), err)
			}
			_, err := io.Copy(io.NewOffsetWriter(to, at), io.NewSectionReader(from, at, min(step, end-at)))
			if errors.Is(err, unix.ENOSPC) {
				return noSpace(to, "copy to", err)
			}
			if err != nil {
				return failed("copy", from.Name(), err)
			}
			if err := beat(); err != nil {
				return err
			}
		}
	}
}

// Allocated returns how large the file at path is and how many bytes of blocks it has, shared ones
// included. NotFound if it is not there.
func Allocated(path string) (size, blocks volume.Size, err error) {
	var s unix.Stat_t
	if err := unix.Lstat(path, &s); err != nil {
		return 0, 0, failed("look at", path, err)
	}
	return volume.Size(s.Size), volume.Size(s.Blocks) * sectorBytes, nil
}

// SyncDirectory makes the names in a directory survive a power cut.
func SyncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return failed("open", path, err)
	}
	return errors.Join(failed("sync", path, dir.Sync()), dir.Close())
}

// FreesLate reports whether the file system at path gives back the blocks of a removed file only when
// it next writes out its state (btrfs), or when SyncFilesystem makes it.
func FreesLate(path string) (bool, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return false, failed("statfs", path, err)
	}
	return s.Type == unix.BTRFS_SUPER_MAGIC, nil
}

// SyncFilesystem writes out all that the file system at path holds back.
func SyncFilesystem(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return failed("open", path, err)
	}
	return errors.Join(failed("sync the file system of", path, unix.Syncfs(int(dir.Fd()))), dir.Close())
}

func interrupted(do func() error) error {
	for {
		if err := do(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
