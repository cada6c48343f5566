package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// Mount hands device and options to the kernel one by one, and puts the mount in its place when it is whole (fsopen(2), fsconfig(2), fsmount(2),
// move_mount(2); Linux 5.2). An option's value may be a secret: each process of the machine can read the argument list of a mount(8), and
// nobody those of a system call. No value is in an error, and none in a log of loam's.
//
// The kind of its error is Busy where the kernel says so: another process has the device, or it is mounted the other way, read-only or for
// writing. It is InUse where the kernel mounts no second btrfs with the UUID of one that is mounted. A device that is read-only is mounted read-only
// only where that was asked.
func (h *Host) Mount(ctx context.Context, device, target string, fsType volume.FSType, options []string) error {
	labels, err := labelsFiles()
	if err != nil {
		return volume.Errorf(volume.Internal, "mount %s of %q on %q: %w", fsType, device, target, err)
	}
	asked := parametersOf(fsType, options, labels)
	err = interrupted(func() error { return mountAt(target, fsType, sourceName(device), asked) })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBUSY):
		return volume.Errorf(volume.Busy, "mount %s of %q on %q: %w: another process has the device, or it is mounted the other way, read-only or for writing", fsType, device, target, err)
	case fsType == volume.Btrfs:
		if twin, mounted := h.mountedTwin(ctx, device); mounted {
			return volume.Errorf(volume.InUse, "mount btrfs of %q on %q: the file system on %s, mounted at %q, has the same UUID, as a copy and its source have, and this kernel mounts one of them at a time (Linux 6.7 and later mount both): unmount that first",
				device, target, twin.Source, twin.Mountpoint)
		}
	}
	if asked.attributes&unix.MOUNT_ATTR_RDONLY == 0 && isReadOnly(device) {
		err = errors.Join(err, errors.New("the device is read-only, and the file system was to be mounted for writing"))
	}
	return volume.Errorf(volume.Internal, "mount %s of %q on %q: %w", fsType, device, target, oneLine(err))
}

// mountAt mounts what is on the device source. Cut off at any point it has mounted nothing, or all of it.
func mountAt(target string, t volume.FSType, source string, asked parameters) error {
	fs, err := configured(t, source, asked)
	if err != nil {
		return err
	}
	defer unix.Close(fs) //nolint:errcheck // what has its place does not go with it
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, asked.attributes)
	if err != nil {
		return whyNot("fsmount", fs, asked, err)
	}
	defer unix.Close(mount) //nolint:errcheck // as above
	if err := notThere(mount, target); err != nil {
		return err
	}
	return os.NewSyscallError("move_mount", unix.MoveMount(mount, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH))
}

// configured returns a file descriptor that holds the file system on a device, mounted nowhere: it goes when the last of them is closed.
func configured(t volume.FSType, source string, asked parameters) (fs int, err error) {
	fs, err = unix.Fsopen(string(t), unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fs, os.NewSyscallError("fsopen", err)
	}
	if err := configure(fs, source, asked); err != nil {
		return -1, errors.Join(err, unix.Close(fs))
	}
	return fs, nil
}

func configure(fs int, source string, asked parameters) error {
	if err := unix.FsconfigSetString(fs, "source", source); err != nil {
		return whyNot("fsconfig of the device", fs, asked, err)
	}
	for _, p := range asked.list {
		set := unix.FsconfigSetFlag
		if p.hasValue {
			set = func(fs int, name string) error { return unix.FsconfigSetString(fs, name, p.value) }
		}
		if err := set(fs, p.name); err != nil {
			return whyNot("option "+strconv.Quote(p.name), fs, asked, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return whyNot("fsconfig", fs, asked, err)
	}
	return nil
}

// whyNot adds what the kernel has said to the error of a system call.
func whyNot(what string, fs int, asked parameters, err error) error {
	says := kernelSays(fs)
	if says == "" {
		says = "; the kernel's log (dmesg) may say more"
	}
	return &os.SyscallError{Syscall: what, Err: said{err, asked.withoutValues(says)}}
}

// said is an error number with what the kernel said of it.
type said struct {
	error
	text string
}

func (s said) Error() string { return s.error.Error() + s.text }
func (s said) Unwrap() error { return s.error }

// kernelSays reads what the kernel has said of a mount, if it did (fsopen(2)): messages that begin with their level, as in "e ext4: ...".
func kernelSays(fs int) string {
	var says strings.Builder
	for line := make([]byte, maxStderrBytes); ; {
		n, err := unix.Read(fs, line)
		if err != nil || n <= 0 || says.Len() > maxStderrBytes {
			return says.String()
		}
		text := string(line[:n])
		if len(text) > 2 && text[1] == ' ' {
			text = text[2:]
		}
		says.WriteString("; " + shorten(strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) || unicode.IsSpace(r) {
				return r
			}
			return '?'
		}, text)))
	}
}

// notThere says whether the same file system is mounted at the target already, as mount(2) does and move_mount(2) does not: EBUSY.
func notThere(mount int, target string) error {
	var own, there unix.Statx_t
	if err := unix.Statx(mount, "", unix.AT_EMPTY_PATH, 0, &own); err != nil {
		return os.NewSyscallError("statx", err)
	}
	if err := unix.Statx(unix.AT_FDCWD, target, unix.AT_SYMLINK_NOFOLLOW, 0, &there); err != nil {
		return os.NewSyscallError("statx", err)
	}
	if there.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 && there.Dev_major == own.Dev_major && there.Dev_minor == own.Dev_minor {
		return said{unix.EBUSY, ": it is mounted there already"}
	}
	return nil
}

// sourceName returns what the mount table is to call a device. The nodes of device-mapper are numbered anew with each start of the
// machine, and so mount(8) shows them by their names.
func sourceName(device string) string {
	name, err := readSysfs(filepath.Join("/sys/class/block", filepath.Base(device), "dm/name"))
	if err != nil || filepath.Dir(device) != "/dev" {
		return device
	}
	var named, own unix.Stat_t
	mapped := "/dev/mapper/" + name
	if unix.Stat(mapped, &named) != nil || unix.Stat(device, &own) != nil || named.Rdev != own.Rdev {
		return device // nobody has made that node
	}
	return mapped
}

// isReadOnly reports whether a block device takes no writes. One that cannot be asked does.
func isReadOnly(device string) bool {
	var s unix.Stat_t
	if unix.Stat(device, &s) != nil {
		return false
	}
	text, err := readSysfs(filepath.Join("/sys/dev/block", numberOf(s.Rdev).String(), "ro"))
	return err == nil && text == "1"
}

// mountedTwin returns a mount of another btrfs that has the UUID of the one on the device.
func (h *Host) mountedTwin(ctx context.Context, device string) (twin *mountinfo.Info, mounted bool) {
	own, err := h.Probe(ctx, device)
	if err != nil || own.UUID == "" {
		return nil, false
	}
	entries, err := os.ReadDir(filepath.Join("/sys/fs/btrfs", own.UUID, "devices"))
	if err != nil {
		return nil, false
	}
	table, err := mountTable()
	if err != nil {
		return nil, false
	}
	for _, entry := range entries {
		number, err := readDeviceNumber(filepath.Join("/sys/fs/btrfs", own.UUID, "devices", entry.Name(), "dev"))
		if err != nil {
			continue
		}
		for _, m := range table {
			if h.shows(m, number) {
				return m, true
			}
		}
	}
	return nil, false
}
