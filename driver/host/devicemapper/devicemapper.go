// Package devicemapper makes calls of device-mapper, the part of the kernel that LVM and LUKS are made of, without
// starting a process. It imports next to nothing, as the freeze watchdog needs it to (package watchdog).
package devicemapper

import (
	"errors"
	"os"
	"syscall"
	"unsafe"
)

// Control is where device-mapper takes its calls.
const Control = "/dev/mapper/control"

// Requests of device-mapper, _IOWR(0xfd, number, struct dm_ioctl) (linux/dm-ioctl.h).
const (
	create      = 0xc138fd03 // DM_DEV_CREATE
	Remove      = 0xc138fd04 // DM_DEV_REMOVE
	suspend     = 0xc138fd06 // DM_DEV_SUSPEND, which also resumes
	status      = 0xc138fd07 // DM_DEV_STATUS
	Load        = 0xc138fd09 // DM_TABLE_LOAD
	TableStatus = 0xc138fd0c // DM_TABLE_STATUS
	Message     = 0xc138fd0e // DM_TARGET_MSG
)

// Flags of a request and of its answer (linux/dm-ioctl.h).
const (
	ReadOnly         = 1 << 0  // DM_READONLY_FLAG
	suspended        = 1 << 1  // DM_SUSPEND_FLAG
	persistentDevice = 1 << 3  // DM_PERSISTENT_DEV_FLAG: with the number that is asked for
	Table            = 1 << 4  // DM_STATUS_TABLE_FLAG: the table and not the status
	bufferFull       = 1 << 8  // DM_BUFFER_FULL_FLAG: the answer is longer than there is room for
	NoFlush          = 1 << 11 // DM_NOFLUSH_FLAG: a thin pool does not write its metadata to answer
	Deferred         = 1 << 17 // DM_DEFERRED_REMOVE: when nobody has the device open any more
)

// Call is struct dm_ioctl with room for the answer, which begins at DataStart.
type Call struct {
	Version     [3]uint32
	DataSize    uint32
	DataStart   uint32
	TargetCount uint32
	OpenCount   int32
	Flags       uint32
	EventNr     uint32
	_           uint32
	Dev         uint64
	Name        [128]byte
	UUID        [129]byte
	_           [7]byte
	Answer      [4096]byte
}

const headerBytes = 312 // of a Call before Answer

// SpecBytes is the size of struct dm_target_spec, which comes before the text of a target.
const SpecBytes = 40

// ErrTooLong is the error of a name or of data that a Call has no room for.
var ErrTooLong = errors.New("that is too long for device-mapper")

// Do makes one call for the device of that name, with data in the place of the answer, and returns the answer. The error is
// ENXIO where there is no such device, and a *fs.PathError where device-mapper cannot be reached.
func Do(name string, request uintptr, flags uint32, data []byte) (*Call, error) {
	call := &Call{Flags: flags}
	if request == Load {
		call.TargetCount = 1
	}
	if copy(call.Answer[:], data) != len(data) {
		return nil, ErrTooLong
	}
	return call, call.do(name, request)
}

// Create makes a device without a table, with the minor number of dev (makedev(3)). The error is EBUSY or ENXIO where the name or the
// number is taken.
func Create(name string, dev uint64) error {
	call := &Call{Flags: persistentDevice, Dev: dev}
	return call.do(name, create)
}

func (c *Call) do(name string, request uintptr) error {
	c.Version, c.DataStart, c.DataSize = [3]uint32{4, 0, 0}, headerBytes, uint32(unsafe.Sizeof(*c))
	if copy(c.Name[:len(c.Name)-1], name) != len(name) {
		return ErrTooLong
	}
	control, err := os.OpenFile(Control, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer control.Close() //nolint:errcheck // nothing is written to it
	for {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, control.Fd(), request, uintptr(unsafe.Pointer(c)))
		switch errno {
		case 0:
			return nil
		case syscall.EINTR:
		default:
			return errno
		}
	}
}

// OneTarget returns the specification (struct dm_target_spec) of the only target in an answer, and what follows it. It reports
// false where there is not one, or there was no room for it.
func (c *Call) OneTarget() (spec, text []byte, one bool) {
	from := int(c.DataStart) - headerBytes
	if c.Flags&bufferFull != 0 || c.TargetCount != 1 || from < 0 || from+SpecBytes > len(c.Answer) {
		return nil, nil, false
	}
	return c.Answer[from : from+SpecBytes], c.Answer[from+SpecBytes:], true
}

// Suspend holds all writes to the device of that name, after what was under way is on the disk, and freezes
// a file system that is mounted from it. The error is EBUSY where somebody else has done either.
func Suspend(name string) error {
	is, err := isSuspended(name)
	if err == nil && is {
		err = syscall.EBUSY
	}
	if err == nil {
		_, err = Do(name, suspend, suspended, nil)
	}
	return err
}

// Resume ends that, also where another table was loaded. The error is EINVAL where the device is not suspended, as for FITHAW.
func Resume(name string) error {
	is, err := isSuspended(name)
	if err == nil && !is {
		err = syscall.EINVAL
	}
	if err == nil {
		err = Swap(name)
	}
	return err
}

// Swap has the device of that name go on with the table that was loaded last. What is written meanwhile waits.
func Swap(name string) error {
	_, err := Do(name, suspend, 0, nil)
	return err
}

func isSuspended(name string) (bool, error) {
	call, err := Do(name, status, NoFlush, nil)
	return err == nil && call.Flags&suspended != 0, err
}
