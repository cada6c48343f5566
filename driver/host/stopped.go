package host

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// Stopped asks the file system where the mount table does not say it: an xfs that has shut down refuses to open its directories and an ext4 to
// sync one, and an ext4 of some kernels before Linux 6.15 that has found an error refuses a new file. None of that waits for a freeze to end, unless
// there was an error.
func (h *Host) Stopped(m Mount) (string, error) {
	if m.Stopped != "" || m.IsNode() {
		return m.Stopped, nil
	}
	t := volume.FSType(m.FSType)
	if t != volume.XFS && (t != volume.Ext4 || m.ReadOnly) {
		return "", nil
	}
	root, err := os.OpenFile(m.Target, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err == nil && t == volume.Ext4 {
		err = root.Sync()
	}
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.EROFS) {
		return "shut down", closed(root)
	}
	if err != nil {
		return "", errors.Join(failed("look into", m.Target, err), closed(root))
	}
	if err := closed(root); err != nil || t == volume.XFS {
		return "", err
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

// closed closes a file that may not have been opened.
func closed(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}
