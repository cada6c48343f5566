package loop

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// Names in the directory of a pool with a file system of its own.
const (
	filesystemName = "filesystem" // the file that the file system is in
	mountedName    = "mounted"    // where it is mounted
)

// filesystem is an xfs with reflink in one preallocated file.
type filesystem struct {
	machine    *host.Host
	mountPoint string
	device     string
	file       host.FileID
}

// openFilesystem mounts the file system, makes it where there is none, and makes it larger where the
// configuration asks for more than it has. The kind of its error is Invalid where it asks for less.
func openFilesystem(ctx context.Context, c Config, machine *host.Host) (*filesystem, error) {
	path := filepath.Join(c.Directory, filesystemName)
	there, err := exists(path)
	if err != nil {
		return nil, err
	}
	if !there {
		if err := makeFilesystem(ctx, path, c.SizeBytes.RoundUp(unit), machine); err != nil {
			return nil, err
		}
	}
	directory, err := filepath.EvalSymlinks(c.Directory) // the mount table has no symbolic links
	if err != nil {
		return nil, err
	}
	f := &filesystem{machine: machine, mountPoint: filepath.Join(directory, mountedName)}
	var size volume.Size
	if f.file, size, err = host.Identify(path); err != nil {
		return nil, err
	}
	if size > c.SizeBytes.RoundUp(unit) {
		return nil, volume.Errorf(volume.Invalid, "size %s is less than the %s that the file system in %q has, and xfs cannot shrink", c.SizeBytes, size, path)
	}
	err = f.mount(ctx, path)
	if err == nil {
		err = f.grow(ctx, path, size, c.SizeBytes.RoundUp(unit))
	}
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// makeFilesystem makes the file under a temporary name, so that one that has its name is whole.
func makeFilesystem(ctx context.Context, path string, size volume.Size, machine *host.Host) (err error) {
	temporary := path + ".new"
	if err := discardFile(ctx, temporary, machine); err != nil { // left by a crash
		return err
	}
	file, err := os.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			err = errors.Join(err, discardFile(ctx, temporary, machine))
		}
	}()
	if err := host.Preallocate(file, 0, size); err != nil {
		return err
	}
	// On the device and not on the file, so that mkfs sees the sectors that the device will have.
	device, err := machine.AttachLoop(ctx, temporary, false, volume.DefaultBlockBytes)
	if err != nil {
		return err
	}
	if err := machine.Format(ctx, device, host.Format{Type: volume.XFS, Args: []string{"-m", "reflink=1"}}); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return host.SyncDirectory(filepath.Dir(path))
}

// discardFile removes a file and the loop device that it may have.
func discardFile(ctx context.Context, path string, machine *host.Host) error {
	file, _, err := host.Identify(path)
	if volume.Is(err, volume.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	l, attached, err := machine.LoopOf(path, file)
	if err != nil {
		return err
	}
	if attached {
		if err := machine.DetachLoop(ctx, l.Device, file); err != nil {
			return err
		}
	}
	return os.Remove(path)
}

// mount attaches and mounts what is not attached or mounted yet. It stays mounted when the process
// ends while a volume in it is attached.
func (f *filesystem) mount(ctx context.Context, path string) error {
	l, attached, err := f.machine.LoopOf(path, f.file)
	if err != nil {
		return err
	}
	f.device = l.Device
	if !attached {
		if f.device, err = f.machine.AttachLoop(ctx, path, false, volume.DefaultBlockBytes); err != nil {
			return err
		}
	}
	device, err := f.machine.Device(f.device)
	if err != nil {
		return err
	}
	table, err := f.machine.Mounts()
	if err != nil {
		return err
	}
	for _, m := range table {
		if m.Device == device.Number && m.Target == f.mountPoint {
			return nil
		}
	}
	if err := os.MkdirAll(f.mountPoint, 0o700); err != nil {
		return err
	}
	return f.machine.Mount(ctx, f.device, f.mountPoint, volume.XFS, []string{"noatime"})
}

// grow makes file, device and file system as large as asked. Each may be so already, where an earlier
// process was cut off.
func (f *filesystem) grow(ctx context.Context, path string, size, asked volume.Size) error {
	if size < asked {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		err = errors.Join(host.Preallocate(file, size, asked), file.Sync(), file.Close())
		if err != nil {
			return err
		}
	}
	device, err := f.machine.Device(f.device)
	if err != nil {
		return err
	}
	if device.SizeBytes < asked {
		if err := f.machine.GrowLoop(f.device); err != nil {
			return err
		}
	}
	return f.machine.Grow(ctx, f.device, f.mountPoint, volume.XFS)
}

// close unmounts the file system and detaches its device, unless it is busy: then a volume in it is
// in use, and goes on being so.
func (f *filesystem) close() error {
	ctx := context.Background()
	err := f.machine.Unmount(ctx, f.mountPoint)
	if volume.Is(err, volume.InUse) {
		return nil
	}
	if err != nil || f.device == "" {
		return err
	}
	return f.machine.DetachLoop(ctx, f.device, f.file)
}
