package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// SettleLoop makes what LoopsOf has found as AttachLoop leaves it: a device for writing takes writes, and none
// goes by itself. The kind of its error is InUse where the device has another file meanwhile.
func (h *Host) SettleLoop(l Loop) error {
	f, err := os.OpenFile(l.Device, os.O_RDONLY, 0)
	if err != nil {
		return failed("open", l.Device, err)
	}
	err = sameFile(f, l.File)
	if err == nil {
		err = failed("set up", l.Device, settleLoop(f, l.ReadOnly))
	}
	if err == nil && l.Autoclear {
		err = failed("set up", l.Device, keepLoop(f))
	}
	return errors.Join(err, f.Close())
}

// sameFile says whether an open loop device has the given file. While it is open, it keeps it. The kind of its
// error is InUse.
func sameFile(device *os.File, file FileID) error {
	info, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
	if errors.Is(err, unix.ENXIO) || (err == nil && fileOf(info) != file) {
		return volume.Errorf(volume.InUse, "device %s has been given another file meanwhile: try again", device.Name())
	}
	return failed("look at", device.Name(), err)
}

// settleLoop takes back an administrator's blockdev --setro, which outlives the use of a device. What
// AttachLoop makes read-only is so by LO_FLAGS_READ_ONLY, which does not.
func settleLoop(device *os.File, readOnly bool) error {
	if readOnly {
		return nil
	}
	return ioctlWritable(device)
}

// keepLoop takes back the kernel's note to detach a device when nobody has it open any more.
func keepLoop(device *os.File) error {
	info, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
	if err != nil {
		return err
	}
	info.Flags &^= unix.LO_FLAGS_AUTOCLEAR
	return unix.IoctlLoopSetStatus64(int(device.Fd()), info)
}

// DetachLoop takes the loop device away from its file. Nil where it has another file or none by now.
// InUse while it is mounted or open, or its node is bound somewhere: there the next file that gets the
// device would appear. A bind of which SetOwner has noted another owner than this one was there when the device
// was made, and is no use of it. A device that is mounted in other mount namespaces only is detached by the kernel as soon as it
// is not any more, unless SettleLoop takes that back.
func (h *Host) DetachLoop(ctx context.Context, device string, file FileID, owner string) error {
	if err := h.notMounted(device, owner); err != nil {
		return err
	}
	elsewhere, err := h.Elsewhere(device)
	if err != nil && !volume.Is(err, volume.NotFound) {
		return err
	}
	if elsewhere.Who == "" {
		err = again(ctx, loopPatience, func() error { return clearLoop(device, file) }, unix.EBUSY)
	} else {
		err = unix.EBUSY
	}
	if errors.Is(err, unix.EBUSY) && elsewhere.FSType != "" {
		return clearLoopLater(device, file)
	}
	if errors.Is(err, unix.EBUSY) {
		return volume.Errorf(volume.InUse, "device %s is mounted or open: unmount it and end what uses it", device)
	}
	if err == nil {
		waitUntilFree(ctx, device, file)
	}
	return failed("detach", device, err)
}

// waitUntilFree waits until the kernel has let go of the file of a device that is going: it does when the last copy of what clearLoop had
// open is closed, which a process that was just being started may have. Until then the file's file system is busy.
func waitUntilFree(ctx context.Context, device string, file FileID) {
	_ = again(ctx, loopPatience, func() error { // should it last, nobody can use the device all the same
		if unix.Access(filepath.Join(loopFolder, filepath.Base(device), "loop"), unix.F_OK) != nil {
			return nil
		}
		if l, bound, err := readLoop(device); err == nil && bound && l.File != file {
			return nil
		}
		return unix.EBUSY
	}, unix.EBUSY)
}

// clearLoop returns EBUSY while somebody else has the device open. The kernel would then detach it
// when that somebody closes it, and until then the caller would believe it gone.
func clearLoop(path string, file FileID) (err error) {
	device, err := os.OpenFile(path, os.O_RDONLY|unix.O_EXCL, 0)
	if errors.Is(err, unix.ENXIO) || isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeExclusive(device)) }()
	fd := int(device.Fd())
	info, err := unix.IoctlLoopGetStatus64(fd)
	if errors.Is(err, unix.ENXIO) || (err == nil && fileOf(info) != file) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := ioctlWritable(device); err != nil { // for who gets it next
		return err
	}
	if err := unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0); err != nil && !errors.Is(err, unix.ENXIO) {
		return err
	}
	// Still there: it is open elsewhere, and the kernel has made a note to detach it later.
	err = keepLoop(device)
	if errors.Is(err, unix.ENXIO) {
		return nil
	}
	if err != nil {
		return err
	}
	return unix.EBUSY
}

// clearLoopLater has the kernel detach a device from its file when nobody has it open or mounted any more.
func clearLoopLater(path string, file FileID) error {
	device, err := os.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, unix.ENXIO) || isNotExist(err) {
		return nil
	}
	if err != nil {
		return failed("detach", path, err)
	}
	info, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
	if err == nil && fileOf(info) == file {
		err = unix.IoctlSetInt(int(device.Fd()), unix.LOOP_CLR_FD, 0)
	}
	if errors.Is(err, unix.ENXIO) {
		err = nil
	}
	return errors.Join(failed("detach", path, err), device.Close())
}

// GrowLoop makes the device as large as its file is now. The kind of its error is InUse where the device has
// another file meanwhile.
func (h *Host) GrowLoop(device string, file FileID) error {
	f, err := os.OpenFile(device, os.O_RDONLY, 0)
	if err != nil {
		return failed("open", device, err)
	}
	err = sameFile(f, file)
	if err == nil {
		err = failed("grow", device, unix.IoctlSetInt(int(f.Fd()), unix.LOOP_SET_CAPACITY, 0))
	}
	return errors.Join(err, f.Close())
}

// again calls do while it fails with one of the given errors and patience lasts.
func again(ctx context.Context, patience time.Duration, do func() error, with ...error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for pause := loopPause; ; pause = min(2*pause, 100*time.Millisecond) {
		err := do()
		if !slices.ContainsFunc(with, func(w error) bool { return errors.Is(err, w) }) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}
