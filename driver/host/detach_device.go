package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// DetachDevice takes a loop or device-mapper device away that DevicesByName has found. Neither its file nor any disk is asked, so it
// works also where those are gone. Nil where the device has another file or UUID by now. The kind of its error is InUse while it is
// mounted or open, or its node is bound somewhere, but not where SetOwner has noted another owner than this one.
func (h *Host) DetachDevice(ctx context.Context, d BlockDevice, owner string) error {
	if d.MapperName != "" {
		return h.detachMapped(d, owner)
	}
	node := "/dev/" + d.Name
	if err := h.notMounted(node, owner); err != nil {
		return err
	}
	elsewhere, err := h.Elsewhere(node)
	if err != nil && !volume.Is(err, volume.NotFound) {
		return err
	}
	if elsewhere.FSType != "" {
		return failed("detach", node, clearNamed(node, d, false))
	}
	err = again(ctx, loopPatience, func() error { return clearNamed(node, d, true) }, unix.EBUSY)
	for until := time.Now().Add(loopPatience); err == nil && isStill(d); time.Sleep(loopPause) { // who looks at it has it open for a moment
		if time.Now().After(until) {
			err = unix.EBUSY
		}
	}
	if errors.Is(err, unix.EBUSY) {
		return volume.Errorf(volume.InUse, "device %s is mounted or open: unmount it and end what uses it", node)
	}
	return failed("detach", node, err)
}

// isStill reports whether a loop device has the file of that path. The file may have lost its name meanwhile.
func isStill(d BlockDevice) bool {
	now, ok := blockTree{sys: "/sys", dev: "/dev"}.device(d.Name)
	return ok && now.File != nil && d.File != nil && now.File.Path == d.File.Path
}

// clearNamed has the kernel take the file from a loop device as soon as nobody has the device open any more. Unlike
// clearLoop it does not ask which file that is, for a file system that has shut down does not say. Exclusive says that nobody else
// may have it mounted.
func clearNamed(node string, d BlockDevice, exclusive bool) (err error) {
	mode := os.O_RDONLY
	if exclusive {
		mode |= unix.O_EXCL
	}
	device, err := os.OpenFile(node, mode, 0)
	if errors.Is(err, unix.ENXIO) || isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	if !isStill(d) { // while it is open, it keeps its file
		return nil
	}
	if exclusive {
		if err := ioctlWritable(device); err != nil { // for who gets it next
			return err
		}
	}
	if err := unix.IoctlSetInt(int(device.Fd()), unix.LOOP_CLR_FD, 0); err != nil && !errors.Is(err, unix.ENXIO) {
		return err
	}
	return nil
}

// detachMapped removes a device-mapper device, and then the parts of it that nothing else uses.
func (h *Host) detachMapped(d BlockDevice, owner string) error {
	all, err := h.DevicesByName()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(now BlockDevice) bool { return now.MapperName == d.MapperName && now.MapperUUID == d.MapperUUID })
	if i < 0 {
		return nil
	}
	device, parts := "/dev/"+all[i].Name, partsOf(all[i], all)
	if later, err := h.RemoveMappedLater(d.MapperName, device, owner); later || err != nil {
		return err
	}
	if err := h.NotHeld(device, owner); err != nil {
		return err
	}
	if err := h.RemoveMapped(d.MapperName); err != nil && !volume.Is(err, volume.NotFound) {
		return err
	}
	removeLinks(d.MapperName)
	for more := true; more; { // a part of a part goes after it
		more = false
		parts = slices.DeleteFunc(parts, func(name string) bool {
			removed := h.RemoveMapped(name) == nil
			more = more || removed
			return removed
		})
	}
	return nil
}

// partsOf returns the names of the devices that LVM has made of parts of a logical volume, as those of a cache or a mirror: they lie below
// it, and are called after it. The name alone does not say so: "vg-data_2" may be another volume than "vg-data".
func partsOf(d BlockDevice, all []BlockDevice) (names []string) {
	for below := d.Below; len(below) > 0; below = below[1:] {
		i := slices.IndexFunc(all, func(b BlockDevice) bool { return b.Number == below[0] })
		if i < 0 {
			continue
		}
		part := all[i]
		called := strings.HasPrefix(part.MapperName, d.MapperName+"_") || part.MapperName == d.MapperName+"-real"
		if called && strings.HasPrefix(part.MapperUUID, "LVM-") && !slices.Contains(names, part.MapperName) {
			names, below = append(names, part.MapperName), append(slices.Clone(below), part.Below...)
		}
	}
	return names
}

// removeLinks removes the links that LVM has made to the node of a device-mapper device, where no udev does, as /dev/<group>/<volume>. One that leads nowhere
// would keep a group from being given that name.
func removeLinks(name string) {
	links, _ := filepath.Glob("/dev/*/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && filepath.Base(to) == name && filepath.Base(filepath.Dir(to)) == "mapper" {
			_ = os.Remove(link)
			_ = os.Remove(filepath.Dir(link)) // it may hold others
		}
	}
}
