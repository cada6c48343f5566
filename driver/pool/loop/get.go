package loop

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

func (p *Pool) volumeDir(name string) string { return filepath.Join(p.root, volumesDir, name) }
func (p *Pool) imagePath(name string) string { return filepath.Join(p.volumeDir(name), imageName) }

// Get reads one volume from the disk and finds its device.
func (p *Pool) Get(_ context.Context, id volume.ID) (volume.Volume, error) {
	v, file, err := p.read(id)
	if err != nil {
		return volume.Volume{}, err
	}
	v, _, err = p.withDevices(v, file)
	return v, err
}

// List reads a page of volumes and looks at the loop devices once for all of them.
func (p *Pool) List(ctx context.Context, after string, limit int) ([]volume.Volume, error) {
	names, err := p.namesIn(volumesDir, after, limit)
	if err != nil || len(names) == 0 {
		return nil, p.cause(err)
	}
	loops, err := p.machine.Loops()
	if err != nil {
		return nil, err
	}
	of := byFile(loops)
	volumes := make([]volume.Volume, 0, len(names))
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		v, file, err := p.readHere(volume.ID{Node: p.node, Pool: p.name, Name: name})
		if err == nil {
			v, err = p.shownBy(v, of[file], loops)
		}
		if volume.Is(err, volume.NotFound) {
			continue // deleted meanwhile, or something of somebody else's
		}
		if err != nil {
			return nil, p.cause(err)
		}
		volumes = append(volumes, v)
	}
	if err := p.here(); err != nil { // else what was read is not of this pool
		return nil, err
	}
	return volumes, nil
}

// read returns a volume of this pool without its device, and the identity of its image.
func (p *Pool) read(id volume.ID) (volume.Volume, host.FileID, error) {
	v, file, err := p.readHere(id)
	if err == nil {
		err = p.here()
	}
	return v, file, err
}

// readHere is read for who sees to it that the pool is here.
func (p *Pool) readHere(id volume.ID) (volume.Volume, host.FileID, error) {
	if !p.owns(id) {
		return volume.Volume{}, host.FileID{}, p.missing(id)
	}
	parts := p.partsOf(id)
	if errors.Is(parts.recordErr, fs.ErrNotExist) { // as of each name that is new
		if there, err := exists(p.volumeDir(id.Name)); err == nil && !there {
			return volume.Volume{}, host.FileID{}, p.missing(id)
		}
	}
	if parts.err() != nil { // looked at once more: it may have come or gone between two looks
		parts = p.partsOf(id)
	}
	if parts.err() != nil {
		return p.damaged(id, parts)
	}
	r := parts.record
	return volume.Volume{
		ID: id, Size: parts.size, Source: r.Source, FSType: r.FSType, Parameters: r.Parameters, Claim: r.Claim,
		Ephemeral: r.Ephemeral, Created: r.Created, Mark: parts.mark, BlockBytes: blockBytesOf(r),
	}, parts.file, nil
}

// parts is what a volume is made of, and why a part could not be read.
type parts struct {
	record volume.Record
	mark   volume.Mark
	file   host.FileID // the image
	size   volume.Size

	recordErr, markErr, imageErr error
}

func (p *Pool) partsOf(id volume.ID) (all parts) {
	dir := p.volumeDir(id.Name)
	all.record, all.recordErr = readRecord(filepath.Join(dir, volumeRecord))
	all.mark, all.markErr = readMark(dir)
	all.file, all.size, all.imageErr = host.Identify(p.imagePath(id.Name))
	return all
}

func (p parts) err() error { return errors.Join(p.recordErr, p.markErr, p.imageErr) }

// cannotRead reports whether an error is the disk's or the file system's, and not one of what is on it: others may be
// unreadable for the same reason, and a list without them would say that they are gone.
func cannotRead(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ESHUTDOWN) || errors.Is(err, syscall.EUCLEAN) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENXIO)
}

// readMark reads which mark's file is there. None is Used: should a mark be lost, nothing is formatted. They are
// looked for in the order in which a mark moves, so that one that moves meanwhile is seen, and the last one counts.
func readMark(dir string) (volume.Mark, error) {
	mark := volume.Used
	for _, m := range []volume.Mark{volume.Fresh, volume.Formatting, volume.Block} {
		there, err := exists(filepath.Join(dir, markFile(m)))
		if err != nil {
			return "", err
		}
		if there {
			mark = m
		}
	}
	return mark, nil
}

// markFile returns the name of the file that is there while a mark stands, empty for Used, which has none.
func markFile(m volume.Mark) string {
	switch m {
	case volume.Fresh:
		return freshMark
	case volume.Formatting:
		return formatMark
	case volume.Block:
		return blockMark
	default:
		return ""
	}
}

// Mark renames, removes or makes the file that stands for the mark: one step, so that after a crash it is the old mark or
// the new one. It syncs the directory in any case: the mark that stands may be one that was set by a process that was
// killed before it came to that.
func (p *Pool) Mark(_ context.Context, id volume.ID, mark volume.Mark) error {
	v, _, err := p.read(id)
	if err == nil {
		err = v.Intact()
	}
	if err != nil {
		return err
	}
	if !v.Mark.Follows(mark) {
		return volume.Errorf(volume.InUse, "volume %q is marked %q, which cannot become %q", id, v.Mark, mark)
	}
	dir := p.volumeDir(id.Name)
	switch {
	case mark == v.Mark:
	case v.Mark == volume.Used: // Block is all that follows
		err = touch(filepath.Join(dir, blockMark))
	case mark == volume.Used:
		err = errors.Join(removeFile(filepath.Join(dir, freshMark)), removeFile(filepath.Join(dir, formatMark)))
	default:
		err = os.Rename(filepath.Join(dir, markFile(v.Mark)), filepath.Join(dir, markFile(mark)))
	}
	if err == nil {
		err = host.SyncDirectory(dir)
	}
	if err != nil {
		return volume.Errorf(volume.Internal, "mark volume %q %s: %w", id, mark, err)
	}
	return nil
}

// removeFile removes a file; nil where there is none.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
