package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// ShownThrough reports whether a block device shows bytes of another one, or the file of another one,
// through loop devices: mount(8) makes such a one for its option "loop", and an administrator with losetup.
func (h *Host) ShownThrough(device string, other DeviceNumber) (bool, error) {
	above, err := loopsAbove(device)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(above, func(l loopNode) bool { return l.number == other }), nil
}

// notUsedThrough says whether bytes of a device are in use through another loop device, wherever that is
// mounted: the kernel takes the two for two file systems. The kind of its error is InUse.
func notUsedThrough(device string) error {
	above, err := loopsAbove(device)
	if err != nil {
		return err
	}
	for _, l := range above {
		f, err := os.OpenFile(l.path, os.O_RDONLY|unix.O_EXCL, 0)
		switch {
		case errors.Is(err, unix.EBUSY):
			return volume.Errorf(volume.InUse, "device %q is in use through %s as well, which shows the same bytes: unmount that one, and take it away (losetup --detach %[2]s)", device, l.path)
		case errors.Is(err, unix.ENXIO), isNotExist(err): // it went away meanwhile
		case err != nil:
			return failed("look at", l.path, err)
		default:
			_ = f.Close() // it was not even read
		}
	}
	return nil
}

// loopNode is a loop device and what it shows.
type loopNode struct {
	path   string
	number DeviceNumber
	file   FileID
	of     uint64 // number of the block device that the file is, 0 where it is none
}

// loopsAbove returns the loop devices, other than a block device itself, that show bytes of it: those of its
// file where it is a loop device, those of it, and of those.
func loopsAbove(device string) ([]loopNode, error) {
	var stat unix.Stat_t
	if err := unix.Stat(device, &stat); err != nil {
		return nil, failed("look at", device, err)
	}
	all, err := loopNodes()
	if err != nil {
		return nil, err
	}
	self := DeviceNumber{Major: unix.Major(stat.Rdev), Minor: unix.Minor(stat.Rdev)}
	files, numbers, above := map[FileID]bool{}, map[DeviceNumber]bool{self: true}, []loopNode{}
	if i := slices.IndexFunc(all, func(l loopNode) bool { return l.number == self }); i >= 0 {
		files[all[i].file] = true
		all = slices.Delete(all, i, i+1)
	}
	for more := true; more; {
		more = false
		all = slices.DeleteFunc(all, func(l loopNode) bool {
			below := DeviceNumber{Major: unix.Major(l.of), Minor: unix.Minor(l.of)}
			if !files[l.file] && (l.of == 0 || !numbers[below]) {
				return false
			}
			numbers[l.number], more = true, true
			above = append(above, l)
			return true
		})
	}
	return above, nil
}

// loopNodes reads all loop devices that have a file. One whose file does not answer is left out: it is not
// the file of a device that does.
func loopNodes() (all []loopNode, err error) {
	folders, err := filepath.Glob("/sys/block/loop*/loop")
	if err != nil {
		return nil, volume.Errorf(volume.Internal, "list the loop devices: %w", err)
	}
	for _, folder := range folders {
		path := "/dev/" + filepath.Base(filepath.Dir(folder))
		l, err := readLoopNode(path)
		switch {
		case err == nil:
			all = append(all, l)
		case errors.Is(err, unix.ENXIO), errors.Is(err, fs.ErrNotExist), isSilent(err):
		default:
			return nil, failed("look at", path, err)
		}
	}
	return all, nil
}

func readLoopNode(path string) (l loopNode, err error) {
	device, err := os.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	info, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
	if err != nil {
		return l, err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(device.Fd()), &stat); err != nil {
		return l, err
	}
	number := DeviceNumber{Major: unix.Major(stat.Rdev), Minor: unix.Minor(stat.Rdev)}
	return loopNode{path: path, number: number, file: fileOf(info), of: info.Rdevice}, nil
}
