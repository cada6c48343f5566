package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// CheckLoopBlocks says whether a loop device of this machine can have logical blocks of so many bytes: a power
// of two from 512 to the size of a page (loop_validate_block_size in drivers/block/loop.c). The kind of its error
// is Invalid for what no device has, and Unsupported for what is too large here.
func CheckLoopBlocks(size volume.Size) error {
	if err := volume.CheckBlockBytes(size); err != nil {
		return err
	}
	if page := volume.Size(os.Getpagesize()); size > page {
		return volume.Errorf(volume.Unsupported, "a loop device of this machine has logical blocks of at most %d bytes, and not of %d", int64(page), int64(size))
	}
	return nil
}

// How long AttachLoop and DetachLoop try again. Another process gets between the two calls that find
// and take a free device, and udev opens each new device for a look.
const (
	loopPatience = 5 * time.Second
	loopPause    = time.Millisecond
)

// AttachLoop makes a loop device of a file, with direct I/O where the file system has it, and returns
// its path. It does not look whether the file has one already. The kind of its error is as CheckLoopBlocks says,
// and Invalid for a file that is no multiple of its blocks: the end would be cut off.
func (h *Host) AttachLoop(ctx context.Context, file string, readOnly bool, blockBytes volume.Size) (device string, err error) {
	if err := CheckLoopBlocks(blockBytes); err != nil {
		return "", err
	}
	mode := os.O_RDWR
	if readOnly {
		mode = os.O_RDONLY
	}
	backing, err := os.OpenFile(file, mode, 0)
	if err != nil {
		return "", failed("open", file, err)
	}
	defer backing.Close() //nolint:errcheck // the kernel holds its own reference; nothing was written
	if info, err := backing.Stat(); err != nil {
		return "", failed("look at", file, err)
	} else if info.Size()%int64(blockBytes) != 0 {
		return "", volume.Errorf(volume.Invalid, "%q has %d bytes, which is no multiple of its logical blocks of %d: a device would be without its end", file, info.Size(), int64(blockBytes))
	}
	err = again(ctx, func() error {
		device, err = configureLoop(backing, readOnly, mode, blockBytes)
		return err
	}, unix.EBUSY, unix.ENXIO)
	if err != nil {
		return "", volume.Errorf(volume.Internal, "make a loop device of %q: %w", file, err)
	}
	return device, nil
}

// configureLoop takes a free device. EBUSY means that somebody else was quicker, and ENXIO that they are
// just giving it back.
func configureLoop(backing *os.File, readOnly bool, mode int, blockBytes volume.Size) (path string, err error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err := errors.Join(err, control.Close()); err != nil {
		return "", err
	}
	path = fmt.Sprintf("/dev/loop%d", number)
	device, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	config := unix.LoopConfig{Fd: uint32(backing.Fd()), Size: uint32(blockBytes), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_DIRECT_IO}}
	if readOnly {
		config.Info.Flags |= unix.LO_FLAGS_READ_ONLY
	}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], backing.Name())
	if err := unix.IoctlLoopConfigure(int(device.Fd()), &config); err != nil {
		return "", err
	}
	if err = settleLoop(device, readOnly); err != nil {
		_ = unix.IoctlSetInt(int(device.Fd()), unix.LOOP_CLR_FD, 0) // it was not handed out yet
	}
	return path, err
}

// SettleLoop makes a loop device that is attached for writing take writes, in case the process that
// attached it did not come to that.
func (h *Host) SettleLoop(device string, readOnly bool) error {
	f, err := os.OpenFile(device, os.O_RDONLY, 0)
	if err != nil {
		return failed("open", device, err)
	}
	return errors.Join(failed("set up", device, settleLoop(f, readOnly)), f.Close())
}

// settleLoop takes back an administrator's blockdev --setro, which outlives the use of a device. What
// AttachLoop makes read-only is so by LO_FLAGS_READ_ONLY, which does not.
func settleLoop(device *os.File, readOnly bool) error {
	if readOnly {
		return nil
	}
	return ioctlWritable(device)
}

// DetachLoop takes the loop device away from its file. Nil where it has another file or none by now.
// InUse while it is mounted or open, or its node is bound somewhere: there the next file that gets the
// device would appear.
func (h *Host) DetachLoop(ctx context.Context, device string, file FileID) error {
	if err := h.notMounted(device); err != nil {
		return err
	}
	err := again(ctx, func() error { return clearLoop(device, file) }, unix.EBUSY)
	if errors.Is(err, unix.EBUSY) {
		return volume.Errorf(volume.InUse, "device %s is mounted or open: unmount it and end what uses it", device)
	}
	return failed("detach", device, err)
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
	defer func() { err = errors.Join(err, device.Close()) }()
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
	info, err = unix.IoctlLoopGetStatus64(fd)
	if errors.Is(err, unix.ENXIO) {
		return nil
	}
	if err != nil {
		return err
	}
	info.Flags &^= unix.LO_FLAGS_AUTOCLEAR
	if err := unix.IoctlLoopSetStatus64(fd, info); err != nil {
		return err
	}
	return unix.EBUSY
}

// GrowLoop makes the device as large as its file is now.
func (h *Host) GrowLoop(device string) error {
	f, err := os.OpenFile(device, os.O_RDONLY, 0)
	if err != nil {
		return failed("open", device, err)
	}
	err = unix.IoctlSetInt(int(f.Fd()), unix.LOOP_SET_CAPACITY, 0)
	return errors.Join(failed("grow", device, err), f.Close())
}

// again calls do while it fails with one of the given errors and patience lasts.
func again(ctx context.Context, do func() error, with ...error) error {
	ctx, cancel := context.WithTimeout(ctx, loopPatience)
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
