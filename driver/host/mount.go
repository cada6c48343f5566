package host

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

func isNotExist(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// oneLine makes a message of one that has several lines.
func oneLine(err error) error { return errors.New(shorten(err.Error())) }

// Bind clones the mount, makes the clone read-only while nobody sees it, and only then puts it in its
// place (open_tree(2), mount_setattr(2), move_mount(2)). With mount(8) it would be writable for a
// moment, and for good if the process died in that moment.
func (h *Host) Bind(_ context.Context, source, target string, readOnly bool) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return failed("bind", source, err)
	}
	defer unix.Close(tree) //nolint:errcheck // a mount that is in its place does not go with it
	if readOnly {
		err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
		if err != nil {
			return failed("make the bind mount read-only of", source, err)
		}
	}
	return failed("bind to", target, unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH))
}

// Unmount never detaches lazily: what is busy stays. What is frozen is thawed before its last mount goes. The kind of its error is
// Unavailable where other mounts lie over the one at target, so that the path does not lead there.
func (h *Host) Unmount(_ context.Context, target string) error {
	if err := thawLast(target); err != nil {
		return err
	}
	err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW)
	switch {
	case err == nil:
		return nil
	case isNotExist(err), errors.Is(err, unix.EINVAL):
		// Not a mount point, or a symbolic link: neither is anything that this call could take away.
		return notHidden(target)
	case errors.Is(err, unix.EBUSY):
		return volume.Errorf(volume.InUse, "%q is busy: a process still has something open there", target)
	default:
		return failed("unmount", target, err)
	}
}

// notHidden says whether the mount table has a mount at a path that leads to no mount point.
func notHidden(target string) error {
	all, err := mountTable()
	if err == nil && slices.ContainsFunc(all, func(m *mountinfo.Info) bool { return m.Mountpoint == target }) {
		err = volume.Errorf(volume.Unavailable, "%q is a mount point, but other mounts lie over a directory above it: unmount those first", target)
	}
	return err
}

// Mounts reads /proc/self/mountinfo.
func (h *Host) Mounts() ([]Mount, error) {
	all, err := mountTable()
	if err != nil {
		return nil, err
	}
	mounts := make([]Mount, len(all))
	for i, m := range all {
		mounts[i] = mountOn(m)
	}
	return mounts, nil
}

// MountPoint returns a path that leads to the file system on a device, and whether it is mounted. A
// mount that another one lies over is not it. The kind of its error is Unavailable where the file
// system is mounted, but no path leads to it.
func (h *Host) MountPoint(device string) (path string, mounted bool, err error) {
	d, err := h.Device(device)
	if err != nil {
		return "", false, err
	}
	all, err := mountTable()
	if err != nil {
		return "", false, err
	}
	for _, m := range all {
		if !h.shows(m, d.Number) {
			continue
		}
		mounted = true
		var s unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, m.Mountpoint, 0, unix.STATX_MNT_ID, &s)
		if err == nil && s.Mnt_id == uint64(m.ID) {
			return m.Mountpoint, true, nil
		}
	}
	if mounted {
		return "", true, volume.Errorf(volume.Unavailable, "the file system on %s is mounted, but other mounts lie over it: unmount those first", device)
	}
	return "", false, nil
}

func hasOption(options, option string) bool {
	return slices.Contains(strings.Split(options, ","), option)
}
