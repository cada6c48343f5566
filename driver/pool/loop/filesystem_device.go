package loop

import (
	"path/filepath"
	"slices"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// isMounted reports whether the file system in a directory, which has no symbolic links, is mounted in its place. The kind
// of its error is Unavailable where something else is: that is never mounted over, for volumes in it may be in use.
func isMounted(machine *host.Host, directory string) (bool, error) {
	table, err := machine.Mounts()
	if err != nil {
		return false, err
	}
	target := filepath.Join(directory, mountedName)
	table = slices.DeleteFunc(table, func(m host.Mount) bool { return m.Target != target })
	if len(table) == 0 {
		return false, nil
	}
	devices, err := devicesOf(machine, filepath.Join(directory, filesystemName))
	if err != nil {
		return false, err
	}
	for _, m := range table {
		if !slices.Contains(devices, m.Device) {
			return false, volume.Errorf(volume.Unavailable, "at %q %s is mounted, which is not %q: that file was removed or replaced while it was in use. What is mounted there still has its data as long as it is: copy out what is to be kept, end the pods that use it, and unmount it", target, m.Source, filepath.Join(directory, filesystemName))
		}
	}
	return true, nil
}

// devicesOf returns the numbers of the loop devices that the file at path has; none where it is not there.
func devicesOf(machine *host.Host, path string) (numbers []host.DeviceNumber, err error) {
	file, _, err := host.Identify(path)
	if volume.Is(err, volume.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	loops, _, err := machine.LoopsOf(path, file)
	if err != nil {
		return nil, err
	}
	for _, l := range loops {
		device, err := machine.Device(l.Device)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, device.Number)
	}
	return numbers, nil
}

// findDevice finds the loop device of the file system, if it has one. The kind of its error is InUse where it has
// several, or one that is not set up as it is here: two file systems of one file destroy each other.
func (f *filesystem) findDevice() error {
	loops, all, err := f.machine.LoopsOf(f.path, f.file)
	if err != nil || len(loops) == 0 {
		return err
	}
	above, err := f.machine.MountedAbove(loops[0].Device, all)
	if err != nil {
		return err
	}
	_, size, err := host.Identify(f.path)
	if err != nil {
		return err
	}
	why := loops[0].Differs(size, volume.DefaultBlockBytes)
	if why == "" && loops[0].ReadOnly {
		why = "it is read-only"
	}
	switch {
	case len(loops) > 1:
		return volume.Errorf(volume.InUse, "the file system %q has several loop devices, %s and %s: unmount and detach all but the one that is mounted at %q", f.path, loops[0].Device, loops[1].Device, f.mountPoint)
	case len(above) > 0:
		return volume.Errorf(volume.InUse, "the file system %q is mounted through a second loop device, %s: unmount and detach that one", f.path, above[0])
	case why != "":
		return volume.Errorf(volume.InUse, "the file system %q is attached as %s, but %s: unmount and detach it", f.path, loops[0].Device, why)
	}
	f.device = loops[0].Device
	return f.machine.SettleLoop(loops[0])
}
