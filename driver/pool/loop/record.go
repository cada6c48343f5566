package loop

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// Names of the files in the directory of a volume or snapshot.
const (
	imageName      = pool.ImageName  // the bytes; its size is the size of the volume
	volumeRecord   = "volume.json"   // what was asked for
	snapshotRecord = "snapshot.json" // what it was taken of
	copyMark       = "copy"          // there where the image began as a copy, and may share blocks
	freshMark      = "fresh"         // there while the mark is Fresh
	formatMark     = "formatting"    // there while the mark is Formatting
	blockMark      = "block"         // there when the mark is Block, of whatever else; none of the three: Used
)

// readRecord returns an error that is fs.ErrNotExist where there is no such file.
func readRecord(path string) (volume.Record, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return volume.Record{}, err
	}
	r, err := volume.ParseRecord(text)
	if err != nil {
		return r, volume.Errorf(volume.Internal, "%q: %w", path, err)
	}
	return r, nil
}

// blockBytesOf returns the logical block size of a volume or snapshot. Each loop device of the releases that
// recorded none had the default.
func blockBytesOf(r volume.Record) volume.Size { return cmp.Or(r.BlockBytes, volume.DefaultBlockBytes) }

// writeRecord makes the record and the empty files named by marks in dir, and syncs them together with the
// image and their directory. The record is first: it is the only one with data to write, and a file
// system that writes its log for that has no more to do for the others.
func writeRecord(r volume.Record, dir, name string, image *os.File, marks ...string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // synced below
	if _, err := file.Write(text); err != nil {
		return err
	}
	for _, mark := range marks {
		if err := touch(filepath.Join(dir, mark)); err != nil {
			return err
		}
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := image.Sync(); err != nil {
		return err
	}
	return host.SyncDirectory(dir)
}

// namesIn returns the names in a directory of the pool behind after, in order, at most limit of them
// where it is not 0. The kind of its error is Unavailable: without the directory nobody knows what is in it.
func (p *Pool) namesIn(dir, after string, limit int) ([]string, error) {
	d, err := os.Open(filepath.Join(p.root, dir))
	if err != nil {
		return nil, p.unlistable(err)
	}
	names, err := d.Readdirnames(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, p.unlistable(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name <= after })
	slices.Sort(names)
	if limit > 0 && len(names) > limit {
		names = names[:limit]
	}
	return names, nil
}

func (p *Pool) unlistable(err error) error {
	if err := p.here(); err != nil {
		return err
	}
	return volume.Errorf(volume.Unavailable, "pool %q: one of its directories cannot be read: %w", p.name, err)
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return false, nil
	}
	return err == nil, err
}
