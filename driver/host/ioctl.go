package host

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Numbers that x/sys/unix lacks (linux/fs.h).
const (
	fiFreeze = 0xc0045877 // FIFREEZE, _IOWR('X', 119, int)
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

// ioctlWritable clears the flag that the administrator's blockdev --setro sets, which outlives the use
// of a loop device.
func ioctlWritable(f *os.File) error {
	var readOnly int32
	return ioctl(f, unix.BLKROSET, unsafe.Pointer(&readOnly))
}
