package loop

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// Delete takes the volume its name and then its space.
func (p *Pool) Delete(ctx context.Context, id volume.ID) error {
	v, err := p.Get(ctx, id)
	if volume.Is(err, volume.NotFound) {
		return p.detachLost(ctx, id)
	}
	if err != nil {
		return err
	}
	if err := v.Intact(); err != nil {
		return err
	}
	if v.Attached() {
		return attached(p.machine, v)
	}
	return p.remove("volume-"+id.Name, p.volumeDir(id.Name))
}

// remove moves a directory away in one step, so that nobody ever sees half of it, and then empties it.
// Once it is moved it is gone: what is left of it after a crash is removed when the pool is opened.
func (p *Pool) remove(temporary, dir string) error {
	away := filepath.Join(p.root, newDir, "deleted-"+temporary)
	if err := removeTree(away); err != nil {
		return wrap(p.name, err)
	}
	err := os.Rename(dir, away)
	if errors.Is(err, fs.ErrNotExist) {
		return p.here()
	}
	if err != nil {
		return wrap(p.name, err)
	}
	p.forget(dir)
	if err := host.SyncDirectory(filepath.Dir(dir)); err != nil {
		return wrap(p.name, err) // it may come back when the power goes, and must then be whole
	}
	return wrap(p.name, p.giveBack(away))
}

// giveBack removes a directory, and returns when its space is free.
func (p *Pool) giveBack(dir string) error {
	if err := removeTree(dir); err != nil || !p.freesLate {
		return err
	}
	return host.SyncFilesystem(p.root)
}

// removeTree removes a directory with all in it; nil where there is none. Files are cut to nothing
// first: some file systems give back the blocks of a removed file only some time later, and who has
// deleted a volume may ask for its space at once.
func removeTree(dir string) error {
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		return os.Truncate(path, 0)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// removeHalfMade empties the directory "new". A process that was killed while it took a snapshot may
// have left file systems frozen; they are thawed.
func (p *Pool) removeHalfMade(ctx context.Context) error {
	names, err := p.namesIn(newDir, "", 0)
	if err != nil || len(names) == 0 {
		return err
	}
	frozen, err := p.leftFrozen(names)
	if err == nil {
		err = p.thawAll(ctx, frozen)
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := removeTree(filepath.Join(p.root, newDir, name)); err != nil {
			return err
		}
	}
	return nil
}

// trim takes back blocks behind the end of images, which a cut-off expansion may have left.
func (p *Pool) trim() error {
	names, err := p.namesIn(volumesDir, "", 0)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := p.imagePath(name)
		size, blocks, err := host.Allocated(path)
		if err != nil || blocks <= size {
			continue // what cannot be looked at is told to who asks for the volume
		}
		if err := os.Truncate(path, int64(size)); err != nil {
			return err
		}
	}
	return nil
}

// attached says why a volume cannot be deleted.
func attached(machine *host.Host, v volume.Volume) error {
	if elsewhere, err := machine.Elsewhere(v.Device); err == nil && elsewhere.FSType != "" {
		return volume.Errorf(volume.InUse, "volume %q, device %s, is %s: it can be deleted when that has ended", v.ID, v.Device, elsewhere)
	}
	return volume.Errorf(volume.InUse, "volume %q is attached as %s: detach it first", v.ID, v.Device)
}
