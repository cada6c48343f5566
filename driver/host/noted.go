package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// deviceAttribute is where NoteDevice keeps its note, beside that of SetOwner.
const deviceAttribute = ownerAttribute + ".device"

// NoteDevice notes a device in words that are of no other. A kernel without such words has an earlier note removed.
func (h *Host) NoteDevice(target, device string) error {
	d, err := h.Device(device)
	if err != nil {
		return err
	}
	dir, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%s", d.Number))
	if err != nil {
		return failed("tell apart from others", device, err)
	}
	text, err := onlyOne(dir)
	if err != nil {
		return failed("tell apart from others", device, err)
	}
	return setAttribute(target, deviceAttribute, text)
}

// NotedDevice looks for the device that NoteDevice has noted.
func (h *Host) NotedDevice(target string) (BlockDevice, bool, error) {
	text, err := attribute(target, deviceAttribute)
	if err != nil || text == "" {
		return BlockDevice{}, false, err
	}
	name, _, _ := strings.Cut(text, " ")
	d, there := blockTree{sys: "/sys", dev: "/dev"}.device(name)
	if !there || (d.File == nil && d.MapperName == "") {
		return BlockDevice{}, false, nil
	}
	now, err := onlyOne(filepath.Join("/sys/class/block", name))
	if err != nil || now != text {
		return BlockDevice{}, false, failed("tell apart from others", d.Path, err)
	}
	return d, true, nil
}

// onlyOne returns the name of a device, whose folder in sysfs is dir, with what tells it apart from those that had the name before, and
// will have it: a number of which no other is used until the machine starts anew (Documentation/ABI/testing/sysfs-block, diskseq), and which
// start that was (proc_sys_kernel(5), boot_id). Empty where the kernel counts no such numbers, as before Linux 5.15: the name alone
// may soon be that of another volume's device.
func onlyOne(dir string) (string, error) {
	sequence, err := readNumber(filepath.Join(dir, "diskseq"))
	if isNotExist(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	boot, err := readSysfs("/proc/sys/kernel/random/boot_id")
	return fmt.Sprintf("%s %d %s", filepath.Base(dir), sequence, boot), err
}

// setAttribute sets an extended attribute of an empty file or directory that something may be bound or mounted on already. It does
// nothing where the file system keeps none, or below does not look.
func setAttribute(target, name, value string) error {
	file, err := below(target)
	if errors.Is(err, errNotCloned) {
		return nil
	}
	if err != nil {
		return failed("make a note on", target, err)
	}
	err = unix.Fsetxattr(int(file.Fd()), name, []byte(value), 0)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM) {
		err = nil
	}
	return errors.Join(failed("make a note on", target, err), file.Close())
}

// attribute returns what setAttribute has set, empty where nothing is.
func attribute(target, name string) (string, error) {
	file, err := below(target)
	if isNotExist(err) || errors.Is(err, errNotCloned) || errors.Is(err, unix.ELOOP) {
		return "", nil
	}
	if err != nil {
		return "", failed("look below what is bound at", target, err)
	}
	defer file.Close() //nolint:errcheck // only read
	value := make([]byte, 256)
	n, err := unix.Fgetxattr(int(file.Fd()), name, value)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
		return "", nil
	}
	if err != nil {
		return "", failed("read a note on", target, err)
	}
	return string(value[:n]), nil
}

// errNotCloned is the error of below for a directory on a mount that cannot be cloned (mount(2), MS_UNBINDABLE).
const errNotCloned = unix.EINVAL

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
