package host

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// A device node that is bind-mounted into a pod's directory stays there when its device goes, and then shows
// whatever device gets the number next. So a number whose node is bound is not used again, and what a bind is for
// is noted on the file under it.

// IsNode reports whether a line of the mount table is a device node that is bound somewhere, or another file of
// the file systems that device nodes lie on.
func (m Mount) IsNode() bool {
	return (m.FSType == "devtmpfs" || m.FSType == "tmpfs") && m.Root != "/"
}

// boundNodes returns where in the mount table device nodes are bound, by their numbers. A bind that another mount
// lies over is found by the name of its node, which is that of the kernel on a devtmpfs.
func boundNodes(table []Mount) map[DeviceNumber][]string {
	bound := map[DeviceNumber][]string{}
	for _, m := range table {
		if !m.IsNode() {
			continue
		}
		var stat unix.Stat_t
		if err := unix.Stat(m.Target, &stat); err == nil && stat.Mode&unix.S_IFMT == unix.S_IFBLK {
			n := DeviceNumber{Major: unix.Major(stat.Rdev), Minor: unix.Minor(stat.Rdev)}
			bound[n] = append(bound[n], m.Target)
			continue
		}
		name := path.Base(strings.TrimSuffix(m.Root, "//deleted"))
		if err := unix.Stat("/dev/"+name, &stat); err == nil && m.FSType == "devtmpfs" && stat.Mode&unix.S_IFMT == unix.S_IFBLK {
			n := DeviceNumber{Major: unix.Major(stat.Rdev), Minor: unix.Minor(stat.Rdev)}
			bound[n] = append(bound[n], m.Target)
		}
	}
	return bound
}

// ownerAttribute is where SetOwner keeps its note: an extended attribute that only root sees (xattr(7)).
const ownerAttribute = "trusted." + volume.DriverName

// SetOwner notes on an empty file or directory which volume is going to be bound or mounted there, also below what is there already.
func (h *Host) SetOwner(target, owner string) error {
	file, err := below(target)
	if err != nil {
		return failed("note the owner on", target, err)
	}
	err = unix.Fsetxattr(int(file.Fd()), ownerAttribute, []byte(owner), 0)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM) {
		err = nil
	}
	return errors.Join(failed("note the owner on", target, err), file.Close())
}

// Owner reads that note.
func (h *Host) Owner(target string) (string, error) {
	file, err := below(target)
	if isNotExist(err) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ELOOP) { // EINVAL: a mount that cannot be cloned (mount(2), MS_UNBINDABLE)
		return "", nil
	}
	if err != nil {
		return "", failed("look below what is bound at", target, err)
	}
	defer file.Close() //nolint:errcheck // only read
	owner := make([]byte, 256)
	n, err := unix.Fgetxattr(int(file.Fd()), ownerAttribute, owner)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
		return "", nil
	}
	if err != nil {
		return "", failed("read the owner of", target, err)
	}
	return string(owner[:n]), nil
}

// below opens the file or directory that something may be bound or mounted on: it clones the mount that the directory lies on, without
// those below it, and finds the file in there. Anything else is not there.
func below(target string) (*os.File, error) {
	tree, err := unix.OpenTree(unix.AT_FDCWD, filepath.Dir(target), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(tree) //nolint:errcheck // what is opened in it stays
	var stat unix.Stat_t
	if err := unix.Fstatat(tree, filepath.Base(target), &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, err
	}
	if kind := stat.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return nil, unix.ENOENT
	}
	fd, err := unix.Openat(tree, filepath.Base(target), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), target), nil
}

// notBound says whether the node of a device is bound anywhere, but where it is noted that this was for another
// owner. The kind of its error is InUse.
func (h *Host) notBound(device string, number DeviceNumber, table []Mount, owner string) error {
	for _, target := range boundNodes(table)[number] {
		noted, err := h.Owner(target)
		if err != nil {
			return err
		}
		if noted == "" || noted == owner {
			return volume.Errorf(volume.InUse, "device %s is bound at %q: unmount it there first", device, target)
		}
	}
	return nil
}
