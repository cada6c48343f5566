package hosttest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// majors of what the table shows. Files that stand for devices have numbers above them.
const (
	rootMajor = 8
	devMajor  = 0
	fileMajor = 1 << 10
)

var (
	rootDevice = host.DeviceNumber{Major: rootMajor, Minor: 1}
	devDevice  = host.DeviceNumber{Major: devMajor, Minor: 6} // devtmpfs, where device nodes live
)

// Device takes any file with bytes in it for a block device: an empty one is what a device is bound on.
func (m *Machine) Device(path string) (d host.Device, err error) {
	err = m.step("Device", path, func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		d, err = m.device(path)
		return err
	})
	return d, err
}

// device is Device with the lock held.
func (m *Machine) device(path string) (host.Device, error) {
	if at := m.top(path); at != nil && at.device != "" && at.FSType == devFS {
		path = at.device
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return host.Device{}, volume.Errorf(volume.NotFound, "look at %q: %w", path, err)
	}
	if err != nil {
		return host.Device{}, volume.Errorf(volume.Internal, "look at %q: %w", path, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || info.Size() == 0 {
		return host.Device{}, volume.Errorf(volume.NotFound, "%q is not a block device", path)
	}
	return host.Device{
		Number:    host.DeviceNumber{Major: fileMajor + uint32(stat.Dev), Minor: uint32(stat.Ino)},
		SizeBytes: volume.Size(info.Size()),
	}, nil
}

// resolve returns the file that stands for a device, given its path or what it is bound to.
func (m *Machine) resolve(path string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at := m.top(path); at != nil && at.FSType == devFS {
		return at.device
	}
	return path
}

// Claim holds a device until release is called, or Restart.
func (m *Machine) Claim(device string) (release func(), err error) {
	err = m.step("Claim", device, func() error {
		release, err = m.claim(device)
		return err
	})
	if err != nil && release != nil {
		release()
		release = nil
	}
	return release, err
}

// claim is what an open with O_EXCL does.
func (m *Machine) claim(device string) (release func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.device(device)
	if err != nil {
		return nil, err
	}
	if m.claims[d.Number] || m.super(d.Number) != nil {
		return nil, volume.Errorf(volume.Busy, "device %q is held by a mount or another process", device)
	}
	m.claims[d.Number] = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.claims, d.Number)
	}, nil
}

// exclusive runs a method that writes to a device which nobody else may have open.
func (m *Machine) exclusive(method, device string, do func(path string) error) error {
	return m.step(method, device, func() error {
		release, err := m.claim(device)
		if err != nil {
			return volume.Errorf(volume.Internal, "%s: %w", method, err)
		}
		defer release()
		if m.refusesWrites(device) {
			return volume.Errorf(volume.Internal, "%s: %q: %w", method, device, syscall.EROFS)
		}
		return do(m.resolve(device))
	})
}

func (m *Machine) refusesWrites(device string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.device(device)
	return err == nil && m.readOnly[d.Number]
}

func zeroFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return volume.Errorf(volume.Internal, "zero %q: %w", path, err)
	}
	info, err := f.Stat()
	if err == nil {
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, info.Size())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return volume.Errorf(volume.Internal, "zero %q: %w", path, err)
	}
	return nil
}

// Devices is what a pool of files says of those that stand for its devices.
type Devices struct {
	List   func() ([]host.BlockDevice, error)
	Detach func(context.Context, host.BlockDevice) error
}

// SetDevices has the machine show the devices of pools by their names. Without it, it has none.
func (m *Machine) SetDevices(d Devices) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.devices = d
}

// DevicesByName returns what the pools say.
func (m *Machine) DevicesByName() (all []host.BlockDevice, err error) {
	err = m.step("DevicesByName", "", func() error {
		m.mu.Lock()
		list := m.devices.List
		m.mu.Unlock()
		if list != nil {
			all, err = list()
		}
		return err
	})
	return all, err
}

// DetachDevice has the pool take away what is not in use.
func (m *Machine) DetachDevice(ctx context.Context, d host.BlockDevice, _ string) error {
	return m.step("DetachDevice", d.Path, func() error {
		m.mu.Lock()
		detach := m.devices.Detach
		m.mu.Unlock()
		if m.InUse(d.Path) {
			return volume.Errorf(volume.InUse, "device %s is mounted or open", d.Path)
		}
		if detach == nil {
			return nil
		}
		return detach(ctx, d)
	})
}

// Elsewhere finds nothing: there is one mount namespace.
func (m *Machine) Elsewhere(device string) (e host.Elsewhere, err error) {
	return e, m.step("Elsewhere", device, func() error { return nil })
}

// Dirty finds nothing: nobody writes to a file system here.
func (m *Machine) Dirty(device string, _ volume.FSType) (bool, error) {
	return false, m.step("Dirty", device, func() error { return nil })
}
