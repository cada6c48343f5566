package host

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// SuspendsFrozen reports whether this kernel suspends a device-mapper device whose file system is frozen: since Linux 6.8 the
// two nest (FREEZE_MAY_NEST), and before that it refuses.
func SuspendsFrozen() bool { return KernelFrom(6, 8) }

// KernelFrom reports whether the kernel of this machine is the given release of Linux or a later one.
func KernelFrom(major, minor int) bool {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return false
	}
	return kernelFrom(unix.ByteSliceToString(u.Release[:]), major, minor)
}

// kernelFrom reports whether a release of Linux, such as "6.1.0-28-amd64", is the given one or a later one.
func kernelFrom(release string, major, minor int) bool {
	fields := strings.FieldsFunc(release, func(r rune) bool { return r < '0' || r > '9' })
	if len(fields) < 2 {
		return false
	}
	a, aErr := strconv.Atoi(fields[0])
	b, bErr := strconv.Atoi(fields[1])
	return aErr == nil && bErr == nil && (a > major || a == major && b >= minor)
}
