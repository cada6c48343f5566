package host

import (
	"errors"
	"io/fs"
	"os"
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

// Loop is a loop device that has a file.
type Loop struct {
	Device   string // path of its node
	File     FileID
	ReadOnly bool
}

// Loops returns the loop devices of this machine that have a file, by that file. The kernel names the
// file by device and inode; its path may since have changed, or mean another file here. A file that does
// not answer is left out, and who then asks for it with Identify hears so.
func (h *Host) Loops() (map[FileID]Loop, error) {
	loops := map[FileID]Loop{}
	_, err := eachLoop(func(l Loop) bool {
		loops[l.File] = l
		return true
	})
	return loops, err
}

// LoopOf returns the loop device of a file that Identify has found at path, and whether there is one.
func (h *Host) LoopOf(path string, file FileID) (found Loop, ok bool, err error) {
	silent, err := eachLoop(func(l Loop) bool {
		if l.File == file {
			found, ok = l, true
		}
		return !ok
	})
	if err != nil || ok || silent == nil {
		return found, ok, err
	}
	// The kernel asks the file of a device as Identify does: while this one answers, the device has another.
	if now, _, err := Identify(path); err != nil || now != file {
		return Loop{}, false, silent
	}
	return Loop{}, false, nil
}

// eachLoop calls visit for each loop device that has a file, until it returns false. A device whose file
// does not answer, such as one on an xfs that has shut down, is passed over: that is the error silent.
func eachLoop(visit func(Loop) bool) (silent, err error) {
	entries, err := os.ReadDir("/sys/block")
	if err != nil {
		return nil, volume.Errorf(volume.Internal, "list the block devices: %w", err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, "loop") {
			continue
		}
		// The folder is there while the device has a file. Looking is cheaper than opening.
		if err := unix.Access("/sys/block/"+name+"/loop", unix.F_OK); err != nil {
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
		if bound && !visit(l) {
			return silent, nil
		}
	}
	return silent, nil
}

func readLoop(path string) (l Loop, bound bool, err error) {
	device, err := os.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, unix.ENXIO) || errors.Is(err, fs.ErrNotExist) {
		return Loop{}, false, nil // it went away meanwhile
	}
	if err != nil {
		return Loop{}, false, err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	info, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
	if errors.Is(err, unix.ENXIO) {
		return Loop{}, false, nil
	}
	if err != nil {
		return Loop{}, false, err
	}
	return Loop{Device: path, File: fileOf(info), ReadOnly: info.Flags&unix.LO_FLAGS_READ_ONLY != 0}, true, nil
}

// isSilent tells the errors of a file system that is gone from those of the device.
func isSilent(err error) bool {
	return errors.Is(err, unix.EIO) || errors.Is(err, unix.ESTALE) || errors.Is(err, unix.ENOTCONN)
}

func fileOf(info *unix.LoopInfo64) FileID { return FileID{Device: info.Device, Inode: info.Inode} }
