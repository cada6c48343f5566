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

	path  string // of the file
	file  host.FileID
	size  volume.Size // of the file
	asked volume.Size
}

// openFilesystem mounts the file system, and makes it where there is none and makeIt says so. The kind of its error is
// Invalid where the configuration asks for less than it has.
func openFilesystem(ctx context.Context, c Config, makeIt bool, machine *host.Host) (*filesystem, error) {
	path := filepath.Join(c.Directory, filesystemName)
	there, err := exists(path)
	if err != nil {
		return nil, err
	}
	if !there && !makeIt {
		return nil, volume.Errorf(volume.Unavailable, "%q has just been removed: put it back", path)
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
	f := &filesystem{machine: machine, mountPoint: filepath.Join(directory, mountedName), path: path, asked: c.SizeBytes.RoundUp(unit)}
	if f.file, f.size, err = host.Identify(path); err != nil {
		return nil, err
	}
	if f.size > f.asked {
		return nil, volume.Errorf(volume.Invalid, "size %s is less than the %s that the file system in %q has, and xfs cannot shrink", c.SizeBytes, f.size, path)
	}
	if err = f.mount(ctx); err != nil {
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
	loops, _, err := machine.LoopsOf(path, file)
	if err != nil {
		return err
	}
	for _, l := range loops {
		if err := machine.DetachLoop(ctx, l.Device, file, ""); err != nil {
			return err
		}
	}
	return os.Remove(path)
}

// mount attaches and mounts what is not attached or mounted yet, or has failed. It stays mounted when the process
// ends while a volume in it is attached.
func (f *filesystem) mount(ctx context.Context) error {
	err := f.unmountFailed(ctx)
	if err == nil {
		err = f.findDevice()
	}
	if err != nil {
		return err
	}
	if f.device == "" {
		if f.device, err = f.machine.AttachLoop(ctx, f.path, false, volume.DefaultBlockBytes); err != nil {
			return err
		}
	}
	mounted, err := isMounted(f.machine, filepath.Dir(f.mountPoint))
	if err != nil || mounted {
		return err
	}
	if err := os.MkdirAll(f.mountPoint, 0o700); err != nil {
		return err
	}
	return f.machine.Mount(ctx, f.device, f.mountPoint, volume.XFS, []string{"noatime", "nouuid"})
}

// unmountFailed unmounts a file system that can no longer be read, so that it is mounted anew. The kind of its error is
// Unavailable while volumes in it are in use.
func (f *filesystem) unmountFailed(ctx context.Context) error {
	mounted, err := isMounted(f.machine, filepath.Dir(f.mountPoint))
	if err != nil || !mounted {
		return err
	}
	why := failed(f.mountPoint)
	if why == nil {
		return nil
	}
	err = f.machine.Unmount(ctx, f.mountPoint)
	if volume.Is(err, volume.InUse) {
		return volume.Errorf(volume.Unavailable, "%w: end the pods that use volumes in it, and it is mounted anew", why)
	}
	return err
}

// failed returns that the file system mounted at a directory can no longer be read, as after it has shut down; nil where it
// can. The kind of the error is Unavailable.
func failed(mountPoint string) error {
	if _, err := os.ReadDir(mountPoint); cannotRead(err) {
		return volume.Errorf(volume.Unavailable, "the file system at %q has failed (%w), and the kernel's log (dmesg) says why", mountPoint, err)
	}
	return nil
}

// grow makes file, device and file system as large as the configuration asks for. Each may be so already, where an
// earlier process was cut off.
func (f *filesystem) grow(ctx context.Context) error {
	if f.size < f.asked {
		file, err := os.OpenFile(f.path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		err = errors.Join(host.Preallocate(file, f.size, f.asked), file.Sync(), file.Close())
		if err != nil {
			return err
		}
	}
	device, err := f.machine.Device(f.device)
	if err != nil {
		return err
	}
	if device.SizeBytes < f.asked {
		if err := f.machine.GrowLoop(f.device, f.file); err != nil {
			return err
		}
	}
	return f.machine.Grow(ctx, f.device, f.mountPoint, volume.XFS)
}

// check says whether the file that the file system is in is still there, and can be read. Without it the file system
// works on while it is mounted, and is lost then.
func (f *filesystem) check() error {
	now, _, err := host.Identify(f.path)
	if err != nil || now != f.file {
		return volume.Errorf(volume.Unavailable, "the file %q, which its file system is in, was removed or replaced while it was in use. What is mounted still has its data as long as it is: copy out what is to be kept", f.path)
	}
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	_, err = file.ReadAt(make([]byte, 512), 0)
	return errors.Join(err, file.Close())
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
	return f.machine.DetachLoop(ctx, f.device, f.file, "")
}
