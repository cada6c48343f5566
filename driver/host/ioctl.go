package host

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// Numbers that x/sys/unix lacks (linux/fs.h).
const (
	fiThaw   = 0xc0045878 // FITHAW,   _IOWR('X', 120, int)
	fsFiemap = 0xc020660b // FS_IOC_FIEMAP, _IOWR('f', 11, struct fiemap)
)

// ioctl does the call and leaves f open and in place meanwhile.
func ioctl(f *os.File, request uintptr, argument unsafe.Pointer) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errno unix.Errno
	if err := conn.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(argument))
	}); err != nil {
		return err
	}
	if errno != 0 {
		return errno
	}
	return nil
}

func ioctlZeroOut(f *os.File, offset, length uint64) error {
	area := [2]uint64{offset, length}
	return ioctl(f, unix.BLKZEROOUT, unsafe.Pointer(&area))
}

// BlockBytes returns the size in bytes of a logical block of a block device: the least that can be read or written at
// once (BLKSSZGET).
func BlockBytes(device string) (volume.Size, error) {
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, failed("open", device, err)
	}
	size, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET)
	return volume.Size(size), errors.Join(failed("ask for the logical block size of", device, err), f.Close())
}

// ioctlWritable clears the flag that the administrator's blockdev --setro sets, which outlives the use
// of a loop device.
func ioctlWritable(f *os.File) error {
	var readOnly int32
	return ioctl(f, unix.BLKROSET, unsafe.Pointer(&readOnly))
}
