package host

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// Stopped asks the file system where the mount table does not say it: an xfs that has shut down refuses to open its directories, and
// an ext4 of some kernels before Linux 6.15 refuses a new file.
func (h *Host) Stopped(m Mount) (string, error) {
	if m.Stopped != "" || m.IsNode() {
		return m.Stopped, nil
	}
	switch volume.FSType(m.FSType) {
	case volume.XFS:
		fd, err := unix.Open(m.Target, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EIO) {
			return "shut down", nil
		}
		if err != nil {
			return "", failed("look into", m.Target, err)
		}
		return "", unix.Close(fd)
	case volume.Ext4:
		if m.ReadOnly {
			return "", nil
		}
		at, err := mountOf(m.Target)
		if err != nil {
			return "", err
		}
		refused, err := refusesFiles(m.Target, at)
		if refused != "" || errors.Is(err, unix.EIO) {
			return "read-only after an error", nil
		}
		return "", err
	}
	return "", nil
}
