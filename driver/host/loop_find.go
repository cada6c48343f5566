package host

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// FileID says which file it is, under whatever path (stat(2), st_dev and st_ino).
type FileID struct{ Device, Inode uint64 }

// Identify returns the identity of the file at path and its size in bytes. NotFound if it is not
// there.
func Identify(path string) (FileID, volume.Size, error) {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return FileID{}, 0, failed("look at", path, err)
	}
	return FileID{Device: s.Dev, Inode: s.Ino}, volume.Size(s.Size), nil
}

// Loop is a loop device that has a file, as the kernel says it is set up (loop(4), LOOP_GET_STATUS64).
type Loop struct {
	Device     string // path of its node
	File       FileID
	Below      DeviceNumber // the block device that File is the node of; zero for a file with bytes
	ReadOnly   bool
	Partitions bool // the kernel looks for partitions on it and makes devices of them (LO_FLAGS_PARTSCAN)
	Autoclear  bool // it goes when nobody has it open any more: made by mount(8), or detached while it was open

	Offset     volume.Size // where it begins in the file
	LimitBytes volume.Size // how much of the file it shows at most; 0: all
	SizeBytes  volume.Size
	BlockBytes volume.Size // of a logical block
}

// Differs says how a device is set up otherwise than AttachLoop does it for a file of so many bytes; empty where it
// is not. Smaller than its file it may be, while an expansion of it is not complete. Autoclear is no difference:
// SettleLoop takes it back.
func (l Loop) Differs(fileBytes, blockBytes volume.Size) string {
	switch {
	case l.Offset != 0:
		return fmt.Sprintf("it begins at byte %d of the file", int64(l.Offset))
	case l.LimitBytes != 0:
		return fmt.Sprintf("it shows at most %d bytes of the file", int64(l.LimitBytes))
	case l.Partitions:
		return "the kernel makes devices of the partitions on it"
	case l.BlockBytes != blockBytes:
		return fmt.Sprintf("it has logical blocks of %d bytes and not of %d", int64(l.BlockBytes), int64(blockBytes))
	case l.SizeBytes > fileBytes:
		return fmt.Sprintf("it has %d bytes and its file only %d", int64(l.SizeBytes), int64(fileBytes))
	}
	return ""
}

// Loops returns the loop devices of this machine that have a file. The kernel names the file by device and inode;
// its path may since have changed, or mean another file here. A file that does not answer is left out, and who then
// asks for it with Identify hears so.
func (h *Host) Loops() (all []Loop, err error) {
	_, err = eachLoop(func(l Loop) { all = append(all, l) })
	return all, err
}

// LoopsOf returns the loop devices of a file that Identify has found at path, mostly one, and more where somebody
// else has made further ones; and all of the machine, as Loops does.
func (h *Host) LoopsOf(path string, file FileID) (found, all []Loop, err error) {
	silent, err := eachLoop(func(l Loop) {
		all = append(all, l)
		if l.File == file {
			found = append(found, l)
		}
	})
	if err != nil || silent == nil {
		return found, all, err
	}
	// The kernel asks the file of a device as Identify does: while this one answers, the device has another.
	if now, _, err := Identify(path); err != nil || now != file {
		return nil, nil, silent
	}
	return found, all, nil
}

// eachLoop calls visit for each loop device that has a file. A device whose file does not answer, such as one on an xfs that has shut down, is passed over: that is the error silent.
func eachLoop(visit func(Loop)) (silent, err error) {
	dir, err := os.Open(loopFolder)
	if err != nil {
		return nil, volume.Errorf(volume.Internal, "list the loop devices: %w", err)
	}
	defer dir.Close() //nolint:errcheck // only read
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, volume.Errorf(volume.Internal, "list the loop devices: %w", err)
	}
	slices.Sort(names)
	for _, name := range names {
		if !strings.HasPrefix(name, "loop") {
			continue
		}
		// The folder is there while the device has a file. Looking is cheaper than opening.
		if err := unix.Faccessat(int(dir.Fd()), name+"/loop", unix.F_OK, 0); err != nil {
			continue
		}
		l, bound, err := readLoop("/dev/" + name)
		if isSilent(err) {
			silent = failed("look at the file of", "/dev/"+name, err)
			continue
		}
		if err != nil {
			return silent, failed("look at", "/dev/"+name, err)
		}
		if bound {
			visit(l)
		}
	}
	return silent, nil
}

// loopFolder has a folder for each loop device. In /sys/block are links to it, and to follow each takes twice as long.
const loopFolder = "/sys/devices/virtual/block"

// readLoop reports false for a device that has no file. It makes no os.File: with hundreds of devices, what that costs is
// most of what it takes to look at them.
func readLoop(path string) (l Loop, bound bool, err error) {
	fd := -1
	err = interrupted(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if errors.Is(err, unix.ENXIO) || errors.Is(err, fs.ErrNotExist) {
		return Loop{}, false, nil // it went away meanwhile
	}
	if err != nil {
		return Loop{}, false, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	l, err = loopStatus(path, fd)
	if errors.Is(err, unix.ENXIO) {
		return Loop{}, false, nil
	}
	return l, err == nil, err
}

// loopStatus asks an open loop device how it is set up. ENXIO means that it has no file.
func loopStatus(path string, fd int) (Loop, error) {
	info, err := unix.IoctlLoopGetStatus64(fd)
	if err != nil {
		return Loop{}, err
	}
	l := Loop{
		Device: path, File: fileOf(info), Offset: volume.Size(info.Offset), LimitBytes: volume.Size(info.Sizelimit),
		ReadOnly: info.Flags&unix.LO_FLAGS_READ_ONLY != 0, Partitions: info.Flags&unix.LO_FLAGS_PARTSCAN != 0, Autoclear: info.Flags&unix.LO_FLAGS_AUTOCLEAR != 0,
	}
	if info.Rdevice != 0 {
		l.Below = DeviceNumber{Major: unix.Major(info.Rdevice), Minor: unix.Minor(info.Rdevice)}
	}
	block, err := unix.IoctlGetInt(fd, unix.BLKSSZGET)
	if err != nil {
		return l, err
	}
	l.BlockBytes = volume.Size(block)
	end, err := unix.Seek(fd, 0, io.SeekEnd)
	l.SizeBytes = volume.Size(end)
	return l, err
}

// isSilent tells the errors of a file system that is gone from those of the device.
func isSilent(err error) bool {
	return errors.Is(err, unix.EIO) || errors.Is(err, unix.ESTALE) || errors.Is(err, unix.ENOTCONN)
}

func fileOf(info *unix.LoopInfo64) FileID { return FileID{Device: info.Device, Inode: info.Inode} }
