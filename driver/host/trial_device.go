package host

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// newTrialDevice makes a loop device of memory that nothing has been written to. It goes when it is closed by
// all who have it open, this process and what it has started, and the memory with it.
func newTrialDevice(ctx context.Context, size, blockBytes volume.Size) (*os.File, error) {
	if err := CheckLoopBlocks(blockBytes); err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("loam-trial", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	memory := os.NewFile(uintptr(fd), "loam-trial")
	defer memory.Close() //nolint:errcheck // the kernel holds its own reference
	if err := memory.Truncate(int64(size)); err != nil {
		return nil, err
	}
	var device *os.File
	err = again(ctx, loopPatience, func() error {
		device, err = openFreeLoop(os.O_RDWR)
		if err != nil {
			return err
		}
		config := unix.LoopConfig{Fd: uint32(memory.Fd()), Size: uint32(blockBytes), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		copy(config.Info.File_name[:], memory.Name())
		err := unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			if err = ioctlWritable(device); err == nil {
				return nil
			}
		}
		return errors.Join(err, device.Close())
	}, unix.EBUSY, unix.ENXIO)
	return device, err
}

// openFreeLoop opens a loop device that has no file. Somebody else may be quicker to give it one.
func openFreeLoop(mode int) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err := errors.Join(err, control.Close()); err != nil {
		return nil, err
	}
	return os.OpenFile(fmt.Sprintf("/dev/loop%d", number), mode, 0)
}
