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

// Create makes the volume's directory under a temporary name and renames it into its place.
func (p *Pool) Create(ctx context.Context, spec volume.Spec) (volume.Volume, error) {
	v, err := p.Get(ctx, spec.ID)
	if err == nil {
		return v, v.Fits(spec)
	}
	if !volume.Is(err, volume.NotFound) || !p.owns(spec.ID) {
		return volume.Volume{}, err
	}
	source, err := p.source(spec)
	if err != nil {
		return volume.Volume{}, err
	}
	if spec.BlockBytes, err = blockBytes(spec, source); err != nil {
		return volume.Volume{}, err
	}
	size, err := spec.PickSize(source.size, unit, max(unit, spec.BlockBytes))
	if err != nil {
		return volume.Volume{}, volume.Errorf(volume.KindOf(err), "volume %q: %w", spec.ID, err)
	}
	if err := p.machine.TrySpec(ctx, spec, size, spec.BlockBytes); err != nil {
		return volume.Volume{}, err
	}
	err = p.place("volume-"+spec.ID.Name, p.volumeDir(spec.ID.Name), func(dir string) error {
		return p.fill(ctx, dir, spec, source, size)
	})
	if err != nil {
		return volume.Volume{}, err
	}
	v, _, err = p.read(spec.ID) // it cannot be attached yet
	return v, err
}

// place has something made in a new directory and gives it its name, durably. On failure nothing is
// left of it.
func (p *Pool) place(temporary, final string, makeIn func(dir string) error) (err error) {
	dir := filepath.Join(p.root, newDir, temporary)
	err = os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) { // a failed call could not remove it
		if err = removeTree(dir); err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if err != nil {
		return wrap(p.name, err)
	}
	err = makeIn(dir)
	defer func() { err = errors.Join(err, removeFile(p.notePath(temporary))) }() // when the directory is no longer there
	err = p.letGo(dir, func() error {
		if err != nil {
			return err
		}
		return wrap(p.name, os.Rename(dir, final))
	})
	if err != nil {
		return errors.Join(err, p.giveBack(dir))
	}
	if err := host.SyncDirectory(filepath.Dir(final)); err != nil {
		return errors.Join(wrap(p.name, err), p.remove(temporary, final))
	}
	return nil
}

// origin is what a new volume starts as a copy of.
type origin struct {
	image string      // path of its image; empty for nothing
	size  volume.Size // of the image
	block volume.Size // its logical blocks, in bytes
	mark  volume.Mark // that a copy of it is born with
	of    *volume.Volume
}

// source finds what spec is a copy of.
func (p *Pool) source(spec volume.Spec) (origin, error) {
	switch {
	case spec.Source == nil:
		return origin{}, nil
	case spec.Source.Kind == volume.FromSnapshot:
		s, dir, err := p.readSnapshot(spec.Source.ID)
		if err == nil {
			err = s.Intact()
		}
		return origin{image: filepath.Join(dir, imageName), size: s.Size, block: s.BlockBytes, mark: s.Mark}, err
	default:
		v, _, err := p.read(spec.Source.ID)
		if err == nil {
			err = v.Intact()
		}
		return origin{image: p.imagePath(v.ID.Name), size: v.Size, block: v.BlockBytes, mark: v.Mark.OfCopy(), of: &v}, err
	}
}

// blockBytes returns the logical block size that spec's volume gets. The kind of its error is Invalid, or
// Unsupported where no loop device of this machine can show it.
func blockBytes(spec volume.Spec, source origin) (volume.Size, error) {
	block, err := spec.PickBlockBytes(source.block, volume.DefaultBlockBytes)
	if err == nil {
		err = host.CheckLoopBlocks(block)
	}
	if err != nil {
		return 0, volume.Errorf(volume.KindOf(err), "volume %q: %w", spec.ID, err)
	}
	return block, nil
}

// fill makes everything that belongs to a volume in dir.
func (p *Pool) fill(ctx context.Context, dir string, spec volume.Spec, source origin, size volume.Size) error {
	image, err := os.OpenFile(filepath.Join(dir, imageName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return wrap(p.name, err)
	}
	defer image.Close() //nolint:errcheck // synced with the record
	r := spec.Record()
	if spec.Source == nil {
		if err := p.takeFor(dir, making{bytes: size}, func() error { return p.allocate(image, 0, size) }); err != nil {
			return err
		}
		return wrap(p.name, writeRecord(r, dir, volumeRecord, image, freshMark))
	}
	if err := p.takeForCopy(dir, making{bytes: size}); err != nil {
		return err
	}
	if err := p.copyImage(ctx, image, source); err != nil {
		return err
	}
	if err := p.allocate(image, 0, size); err != nil {
		return wrap(p.name, err)
	}
	var marks []string
	if source.mark == volume.Block {
		marks = []string{blockMark}
	}
	return wrap(p.name, writeRecord(r, dir, volumeRecord, image, marks...))
}

// copyImage makes image hold the bytes of source: a snapshot, which never changes, or a volume as it
// is at one instant.
func (p *Pool) copyImage(ctx context.Context, image *os.File, source origin) error {
	copyAll := func(beat func() error) error { return p.copyFile(ctx, image, source.image, beat) }
	if source.of == nil {
		return copyAll(nil)
	}
	limits, err := p.limitsFor(ctx, filepath.Dir(image.Name()), 0, []volume.ID{source.of.ID})
	if err != nil {
		return err
	}
	defer limits.end()
	_, extents, err := writtenIn(source.image)
	if err != nil {
		return wrap(p.name, err)
	}
	if err := p.rehearse(ctx, image, source.of.ID, extents, limits); err != nil {
		return err
	}
	return p.atOneInstant(ctx, []volume.ID{source.of.ID}, limits, copyAll)
}

// allocate makes the file size bytes large, where the volume is to have all its space with blocks
// for what it has none yet.
func (p *Pool) allocate(image *os.File, from, size volume.Size) error {
	if p.config.Sparse {
		return host.SetSize(image, size)
	}
	return host.Preallocate(image, from, size)
}

func touch(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// Expand takes the blocks, makes the image larger, and then the device.
func (p *Pool) Expand(_ context.Context, id volume.ID, asked volume.Range) (volume.Volume, error) {
	v, file, err := p.read(id)
	if err == nil {
		v, _, err = p.withDevices(v, file)
	}
	if err == nil {
		err = v.Usable()
	}
	if err != nil {
		return volume.Volume{}, err
	}
	size, err := v.Grown(asked, max(unit, v.BlockBytes))
	if err != nil {
		return volume.Volume{}, err
	}
	if size > v.Size {
		if err := p.grow(v, size); err != nil {
			return volume.Volume{}, err
		}
		v.Size = size
	}
	if !v.Attached() {
		return v, nil
	}
	device, err := p.machine.Device(v.Device)
	if err != nil {
		return volume.Volume{}, volume.Errorf(volume.Internal, "volume %q: %w", id, err)
	}
	if device.SizeBytes < v.Size { // also where an earlier call was cut off here
		return v, p.machine.GrowLoop(v.Device, file)
	}
	return v, nil
}

func (p *Pool) grow(v volume.Volume, size volume.Size) (err error) {
	dir := p.volumeDir(v.ID.Name)
	image, err := os.OpenFile(filepath.Join(dir, imageName), os.O_RDWR, 0)
	if err != nil {
		return volume.Errorf(volume.Internal, "volume %q: %w", v.ID, err)
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	// Inside, the image is seen to have grown before anybody else looks for space.
	err = p.take(size-v.Size, func() error { return p.allocate(image, v.Size, size) })
	if err != nil {
		return volume.Errorf(volume.KindOf(err), "volume %q cannot grow from %s to %s: %w", v.ID, v.Size, size, err)
	}
	return image.Sync()
}
