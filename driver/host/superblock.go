package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// A file system lives in the kernel as long as it is mounted anywhere: in the mount namespace of a container or debugger, too, which this
// process may not see. It also outlives its last mount while it is frozen. Whoever lives on a device holds it, so that
// nobody else, no mkfs and no fsck, can have claimed it.

// Elsewhere is a file system that is mounted in other mount namespaces only.
type Elsewhere struct {
	FSType volume.FSType // empty: there is none
	Who    string        // a process in such a namespace, in words; empty where none is to be seen
	Thawed bool          // there was one that was mounted nowhere, and it has been thawed
}

// String says it for a message.
func (e Elsewhere) String() string {
	if e.Who == "" {
		return "mounted in a mount namespace that loam cannot see"
	}
	return "mounted in the mount namespace of " + e.Who
}

// Elsewhere looks for a file system that lives on a device and is mounted in other mount namespaces only. One that is mounted
// nowhere was left frozen by whoever unmounted it: it is thawed, which ends its life.
func (h *Host) Elsewhere(device string) (Elsewhere, error) {
	t, err := livesOn(device)
	if err != nil || t == "" {
		return Elsewhere{}, err
	}
	if _, mounted, err := h.MountPoint(device); mounted || err != nil {
		return Elsewhere{}, err
	}
	d, err := h.Device(device)
	if err != nil {
		return Elsewhere{}, err
	}
	e := Elsewhere{FSType: t, Who: h.whoMounts(d.Number)}
	if e.Who != "" {
		return e, nil
	}
	err = thawUnmounted(device, t)
	if hasFailed(err) {
		return e, nil // nobody can thaw it any more
	}
	if err != nil {
		return Elsewhere{}, err
	}
	if t, err = livesOn(device); err != nil || t == "" {
		return Elsewhere{Thawed: err == nil}, err
	}
	return e, nil
}

// livesOn returns the type of the file system that lives on a device, of those that loam mounts, empty where there is none
// (Documentation/ABI/testing: sysfs-fs-ext4, sysfs-fs-xfs, and /sys/fs/btrfs).
func livesOn(device string) (volume.FSType, error) {
	var s unix.Stat_t
	if err := unix.Stat(device, &s); err != nil {
		return "", failed("look at", device, err)
	}
	dir, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%s", numberOf(s.Rdev)))
	if isNotExist(err) {
		return "", nil
	}
	if err != nil {
		return "", failed("look at", device, err)
	}
	for _, t := range volume.FSTypes() {
		pattern := "/sys/fs/" + string(t) + "/" + filepath.Base(dir)
		if t == volume.Btrfs {
			pattern = "/sys/fs/btrfs/*/devices/" + filepath.Base(dir)
		}
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return t, nil
		}
	}
	return "", nil
}

// whoMounts looks into the mount tables of all processes, one for each namespace, for the file system on a device.
func (h *Host) whoMounts(number DeviceNumber) string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return ""
	}
	own, _ := os.Readlink("/proc/self/ns/mnt")
	seen := []string{own}
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		dir := "/proc/" + entry.Name()
		namespace, err := os.Readlink(dir + "/ns/mnt")
		if err != nil || slices.Contains(seen, namespace) {
			continue // it has ended, or has no mounts
		}
		text, err := os.ReadFile(dir + "/mountinfo")
		if err != nil {
			continue
		}
		seen = append(seen, namespace)
		table, err := mountinfo.GetMountsFromReader(bytes.NewReader(shortLines(text)), nil)
		if err == nil && slices.ContainsFunc(table, func(m *mountinfo.Info) bool { return h.shows(m, number) }) {
			name, _ := readSysfs(dir + "/comm")
			return fmt.Sprintf("process %s (%s)", entry.Name(), name)
		}
	}
	return ""
}

// shows reports whether a line of the mount table is one of the file system on a device. A btrfs has a number of its own in the
// table, so there the source has to say it. That of another file system is any text, as the path of what hangs, and is not looked at.
func (h *Host) shows(m *mountinfo.Info, number DeviceNumber) bool {
	if m.FSType != string(volume.Btrfs) {
		return uint32(m.Major) == number.Major && uint32(m.Minor) == number.Minor
	}
	source, err := h.Device(m.Source)
	return err == nil && source.Number == number
}

// thawUnmounted thaws a file system that lives on a device and is mounted nowhere. For that it is mounted again where nobody
// sees it, which shares what lives there; that mount goes with this process, whatever becomes of it.
func thawUnmounted(device string, t volume.FSType) error {
	root, err := unseenMount(device, t, false)
	if errors.Is(err, unix.EBUSY) { // it lives read-only
		root, err = unseenMount(device, t, true)
	}
	if err != nil {
		return failed("mount "+string(t)+", to thaw it, of", device, err)
	}
	err = ioctl(root, fiThaw, nil)
	if errors.Is(err, unix.EINVAL) { // it is not frozen
		err = nil
	}
	return errors.Join(failed("thaw what is on", device, err), root.Close())
}

// Dirty tries to mount the file system at no path. The kernel refuses that where it would have to write, or where the journal is
// damaged.
func (h *Host) Dirty(device string, fsType volume.FSType) (bool, error) {
	root, err := unseenMount(device, fsType, true)
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EUCLEAN) {
		return true, nil
	}
	if err != nil {
		return false, failed("look into the journal on", device, err)
	}
	return false, root.Close()
}

// unseenMount mounts a device at no path, and returns the root directory. The mount goes when that is closed.
func unseenMount(device string, t volume.FSType, readOnly bool) (root *os.File, err error) {
	context, err := unix.Fsopen(string(t), unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(context) //nolint:errcheck // what was made of it stays
	if err := unix.FsconfigSetString(context, "source", device); err != nil {
		return nil, err
	}
	attributes := 0
	if t == volume.XFS {
		if err := unix.FsconfigSetFlag(context, "nouuid"); err != nil {
			return nil, err
		}
	}
	if readOnly {
		attributes = unix.MOUNT_ATTR_RDONLY
		if err := unix.FsconfigSetFlag(context, "ro"); err != nil {
			return nil, err
		}
	}
	if err := unix.FsconfigCreate(context); err != nil {
		return nil, err
	}
	mount, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return nil, err
	}
	defer unix.Close(mount) //nolint:errcheck // root keeps it
	fd, err := unix.Openat(mount, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), device), nil
}

// thawLast thaws the file system that is mounted at a path, if it is mounted nowhere else in this mount namespace. A backup tool
// may have frozen it. Unmounted so, it would live on and hold its device, and nobody could thaw it by a path any more.
func thawLast(target string) error {
	all, err := mountTable()
	if err != nil {
		return err
	}
	var at *mountinfo.Info
	for _, m := range all {
		if m.Mountpoint == target {
			at = m
		}
	}
	if at == nil || !slices.Contains(volume.FSTypes(), volume.FSType(at.FSType)) ||
		slices.ContainsFunc(all, func(m *mountinfo.Info) bool { return m != at && m.Major == at.Major && m.Minor == at.Minor }) {
		return nil
	}
	dir, err := os.Open(target)
	if err == nil {
		var s unix.Statx_t
		err = unix.Statx(int(dir.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &s)
		if err == nil && s.Mnt_id == uint64(at.ID) { // else the path leads to what lies over the mount
			err = ioctl(dir, fiThaw, nil)
		}
		err = errors.Join(err, dir.Close())
	}
	if err == nil || errors.Is(err, unix.EINVAL) || isNotExist(err) || hasFailed(err) {
		return nil // it is thawed, was not frozen, or has failed
	}
	return failed("thaw, before it is unmounted,", target, err)
}

// hasFailed reports whether an error is that of a file system which has stopped itself, or whose disk is gone.
func hasFailed(err error) bool {
	return isSilent(err) || errors.Is(err, unix.ESHUTDOWN) || errors.Is(err, unix.EUCLEAN)
}
