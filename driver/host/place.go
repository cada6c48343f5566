package host

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// Volatile returns the kind of the file system at path, or of the nearest directory above it that is there, if what is
// in it does not outlive the machine or the container: tmpfs, ramfs, overlay. Empty for all others.
func Volatile(path string) (string, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(nearest(path), &s); err != nil {
		return "", failed("statfs", path, err)
	}
	switch s.Type {
	case unix.TMPFS_MAGIC:
		return "tmpfs", nil
	case unix.RAMFS_MAGIC:
		return "ramfs", nil
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay", nil
	}
	return "", nil
}

// nearest returns path, or the nearest directory above it that is there.
func nearest(path string) string {
	for path != "/" && path != "." {
		var s unix.Stat_t
		if err := unix.Stat(path, &s); !isNotExist(err) {
			return path
		}
		path = filepath.Dir(path)
	}
	return path
}

// MountOf returns the line of the mount table that path is on, or the nearest directory above it that is there.
func (h *Host) MountOf(path string) (Mount, error) {
	m, err := mountOf(nearest(path))
	if err != nil {
		return Mount{}, err
	}
	return mountOn(m), nil
}

func mountOf(path string) (*mountinfo.Info, error) {
	var s unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &s); err != nil {
		return nil, failed("look at", path, err)
	}
	all, err := mountTable()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(m *mountinfo.Info) bool { return uint64(m.ID) == s.Mnt_id })
	if i < 0 {
		return nil, volume.Errorf(volume.Internal, "find the mount of %q in the mount table: it is not in there", path)
	}
	return all[i], nil
}

// StoppedAt says why the file system at path takes no more writes, in the kernel's words; empty where it does. Since
// Linux 6.15 an ext4 that found an error says so in the mount table only (emergency_ro). Some kernels before that, such
// as later ones of 6.1, say it nowhere: there, one that has ever found an error is asked for a file.
func (h *Host) StoppedAt(path string) (string, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return "", failed("statfs", path, err)
	}
	if s.Flags&unix.ST_RDONLY != 0 {
		return "read-only", nil
	}
	if s.Type != unix.EXT4_SUPER_MAGIC {
		return "", nil
	}
	m, err := mountOf(path)
	if err != nil {
		return "", err
	}
	for _, option := range []string{"shutdown", "emergency_ro"} {
		if hasOption(m.VFSOptions, option) {
			return "read-only (" + option + ")", nil
		}
	}
	return refusesFiles(path, m)
}

// refusesFiles asks an ext4 that has ever found an error for a file without a name, which it gives up at once.
func refusesFiles(path string, m *mountinfo.Info) (string, error) {
	device, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", m.Major, m.Minor))
	if err != nil {
		return "", failed("look at the device of", path, err)
	}
	if found, err := readNumber("/sys/fs/ext4/" + filepath.Base(device) + "/errors_count"); err != nil || found == 0 {
		return "", nil //nolint:nilerr // a kernel without that file has other words
	}
	fd, err := unix.Open(path, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	switch {
	case err == nil:
		return "", unix.Close(fd)
	case errors.Is(err, unix.EROFS):
		return "read-only (after an error)", nil
	case errors.Is(err, unix.EIO):
		return "", failed("make a file without a name in", path, err)
	}
	return "", nil // it is full
}

// OfHostRoot reports, in a container, whether a mount shows a directory of the file system that has the root directory of
// the machine. That root is nowhere in the mount table of a container; but a directory that is mounted at the path that
// it has on the machine is then in its own file system, too, at that path.
func (m Mount) OfHostRoot() bool { return m.Root != "/" && strings.HasSuffix(m.Root, m.Target) }
