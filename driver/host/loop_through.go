package host

import (
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// notUsedThrough says whether bytes of a device are in use through another loop device, wherever that is
// mounted: the kernel takes the two for two file systems. The kind of its error is InUse.
func (h *Host) notUsedThrough(device string) error {
	all, err := h.Loops()
	if err != nil || len(all) == 0 {
		return err
	}
	others, err := h.loopsAbove(device, all)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(all, func(l Loop) bool { return l.Device == device }); i >= 0 {
		for _, l := range all {
			if l.File != all[i].File || l.Device == device {
				continue
			}
			above, err := h.loopsAbove(l.Device, all)
			if err != nil && !volume.Is(err, volume.NotFound) {
				return err
			}
			others = append(append(others, l), above...)
		}
	}
	for _, l := range others {
		f, err := h.openExclusive(l.Device, os.O_RDONLY)
		switch {
		case errors.Is(err, unix.EBUSY):
			return volume.Errorf(volume.InUse, "device %q is in use through %s as well, which shows the same bytes: unmount that one, and take it away (losetup --detach %[2]s)", device, l.Device)
		case errors.Is(err, unix.ENXIO), isNotExist(err): // it went away meanwhile
		case err != nil:
			return failed("look at", l.Device, err)
		default:
			_ = closeExclusive(f) // it was not even read
		}
	}
	return nil
}

// MountedAbove returns which of the loop devices are mounted and lie above a block device, as mount(8) makes them of
// a device with the option "loop": what is written through them is seen by nobody who looks at the device. Others
// than mounted ones are no harm; the kubelet makes one of each block volume, to know its device by.
func (h *Host) MountedAbove(device string, loops []Loop) (mounted []string, err error) {
	above, err := h.loopsAbove(device, loops)
	if err != nil {
		return nil, err
	}
	for _, l := range above {
		_, is, err := h.MountPoint(l.Device)
		if err != nil && !is && !volume.Is(err, volume.NotFound) { // NotFound: it went away meanwhile
			return nil, err
		}
		if is { // also where another mount lies over it
			mounted = append(mounted, l.Device)
		}
	}
	return mounted, nil
}

// loopsAbove returns which of the loop devices have a block device as their file, or one that has.
func (h *Host) loopsAbove(device string, loops []Loop) (found []Loop, err error) {
	loops = slices.DeleteFunc(slices.Clone(loops), func(l Loop) bool { return l.Below == DeviceNumber{} })
	for below := []string{device}; len(below) > 0 && len(loops) > 0; below = below[1:] {
		d, err := h.Device(below[0])
		if volume.Is(err, volume.NotFound) && below[0] != device {
			continue // it went away meanwhile
		}
		if err != nil {
			return nil, err
		}
		loops = slices.DeleteFunc(loops, func(l Loop) bool {
			if l.Below != d.Number {
				return false
			}
			found, below = append(found, l), append(below, l.Device)
			return true
		})
	}
	return found, nil
}
