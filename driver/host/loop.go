package host

import (
	"context"
	"errors"
	"fmt"
	"os"
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
// and take a free device, many times over where many do, and udev opens each new device for a look.
const (
	attachPatience = 30 * time.Second
	loopPatience   = 5 * time.Second
	loopPause      = time.Millisecond
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
	table, err := h.Mounts()
	if err != nil {
		return "", err
	}
	bound, refused := boundNodes(table), map[int]bool{}
	err = again(ctx, attachPatience, func() error {
		number, release, err := h.loops.take(func(number int) bool {
			return refused[number] || len(bound[DeviceNumber{Major: loopMajor, Minor: uint32(number)}]) > 0
		})
		if err != nil {
			return err
		}
		defer release()
		device = fmt.Sprintf("/dev/loop%d", number)
		err = configureLoop(device, backing, readOnly, mode, blockBytes)
		refused[number] = err != nil
		return err
	}, unix.EBUSY, unix.ENXIO)
	if err != nil {
		return "", volume.Errorf(volume.Internal, "make a loop device of %q: %w", file, err)
	}
	return device, nil
}

// configureLoop gives a free device the file. EBUSY means that somebody else was quicker, or holds it, and ENXIO that they
// are just giving it back.
func configureLoop(path string, backing *os.File, readOnly bool, mode int, blockBytes volume.Size) (err error) {
	device, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	config := unix.LoopConfig{Fd: uint32(backing.Fd()), Size: uint32(blockBytes), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_DIRECT_IO}}
	if readOnly {
		config.Info.Flags |= unix.LO_FLAGS_READ_ONLY
	}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], backing.Name())
	if err := unix.IoctlLoopConfigure(int(device.Fd()), &config); err != nil {
		return err
	}
	if err = errors.Join(checkLoop(device, backing, readOnly, blockBytes), settleLoop(device, readOnly)); err != nil {
		_ = unix.IoctlSetInt(int(device.Fd()), unix.LOOP_CLR_FD, 0) // it was not handed out yet
	}
	return err
}

// loopMajor is the major number of loop devices (Documentation/admin-guide/devices.txt).
const loopMajor = 7

// checkLoop says whether the kernel has set up a device as it was asked to.
func checkLoop(device, backing *os.File, readOnly bool, blockBytes volume.Size) error {
	l, err := loopStatus(device.Name(), int(device.Fd()))
	if err != nil {
		return err
	}
	var file, node unix.Stat_t
	if err := errors.Join(unix.Fstat(int(backing.Fd()), &file), unix.Fstat(int(device.Fd()), &node)); err != nil {
		return err
	}
	switch why := l.Differs(volume.Size(file.Size), blockBytes); {
	case why != "":
		return fmt.Errorf("the kernel has set up %s otherwise than asked: %s", device.Name(), why)
	case l.File != FileID{Device: file.Dev, Inode: file.Ino} || l.ReadOnly != readOnly:
		return fmt.Errorf("the kernel has given %s another file, or is not asked read-only %t", device.Name(), readOnly)
	case device.Name() != fmt.Sprintf("/dev/loop%d", unix.Minor(node.Rdev)) || unix.Major(node.Rdev) != loopMajor:
		return fmt.Errorf("%s is not the node of that device: it is that of device %d:%d", device.Name(), unix.Major(node.Rdev), unix.Minor(node.Rdev))
	}
	return nil
}
