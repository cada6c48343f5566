package vg

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// candidates are the devices that LVM may look for the group on.
type candidates struct {
	all     []host.BlockDevice // of the machine
	paths   []string
	numbers map[host.DeviceNumber]bool
	why     map[host.DeviceNumber]string // those that are volumes of loam, with the reason
	left    []string                     // what is left out for that
}

// candidates returns the devices that the group may be on: those that the configuration names, or all of this machine; and none
// that is a volume of a loam pool, or lies on one. It starts no process.
func (v *Group) candidates(ctx context.Context) (candidates, error) {
	c := candidates{numbers: map[host.DeviceNumber]bool{}}
	all, err := v.Disks.All(ctx)
	if err != nil {
		return c, volume.Errorf(volume.KindOf(err), "pool %q: %w", v.of.Pool, err)
	}
	c.all = all
	c.why = owned(all, renamed(ctx, all, v.Disks.Open))
	named := v.pinned()
	for _, d := range all {
		reason := c.why[d.Number]
		at := slices.IndexFunc(named, func(path string) bool { return path == d.Path || v.isDevice(path, d.Number) })
		switch {
		case len(named) > 0 && at < 0:
		case reason != "":
			c.left = append(c.left, fmt.Sprintf("/dev/%s (%s)", d.Name, reason))
		case len(named) > 0: // by the name that was given, which LVM may know better
			c.paths, c.numbers[d.Number] = append(c.paths, named[at]), true
		case d.Path != "" && d.SizeBytes > 0:
			c.paths, c.numbers[d.Number] = append(c.paths, d.Path), true
		}
	}
	return c, nil
}

func (v *Group) isDevice(path string, number host.DeviceNumber) bool {
	d, err := v.of.Machine.Device(path)
	return err == nil && d.Number == number
}

// has reports whether a device is among the candidates, under whatever name.
func (v *Group) has(c candidates, path string) bool {
	if slices.Contains(c.paths, path) {
		return true
	}
	d, err := v.of.Machine.Device(path)
	return err == nil && c.numbers[d.Number]
}

// leftOut says which devices were not looked at, a few of them by name.
func (c candidates) leftOut() string {
	const shown = 4
	switch n := len(c.left); {
	case n == 0:
		return ""
	case n > shown:
		return fmt.Sprintf("; %d are left out: %s and others", n, strings.Join(c.left[:shown], ", "))
	default:
		return "; left out: " + strings.Join(c.left, ", ")
	}
}

// devicesPerOption keeps each argument short enough for the kernel, which takes 128 KiB in one (execve(2)).
const devicesPerOption = 1000

// devicesArgs has LVM look at these devices, and at no others.
func devicesArgs(paths []string) (args []string) {
	for chunk := range slices.Chunk(paths, devicesPerOption) {
		args = append(args, "--devices", strings.Join(chunk, ","))
	}
	return args
}

// groupID returns the UUID of the group, empty until it was seen.
func (v *Group) groupID() string {
	v.seen.Lock()
	defer v.seen.Unlock()
	return v.uuid
}

// isAnother reports whether that is the UUID of another group than the one that the pool was opened in. It may have its name: the path of
// a disk can become that of a device of a tenant.
func (v *Group) isAnother(id string) bool {
	known := v.groupID()
	return known != "" && id != "" && id != known
}

// CheckDevices says whether the devices that the configuration names can be disks of a group. The kind of its error is Invalid.
func (v *Group) CheckDevices(ctx context.Context) error {
	all, err := v.Disks.All(ctx)
	if err != nil {
		return volume.Errorf(volume.KindOf(err), "pool %q: %w", v.of.Pool, err)
	}
	why := owned(all, renamed(ctx, all, v.Disks.Open))
	for _, path := range v.of.Devices {
		if d, err := v.of.Machine.Device(path); err == nil && why[d.Number] != "" {
			return volume.Errorf(volume.Invalid, "pool %q: devices: %q is no disk to make a volume group of: %s", v.of.Pool, path, why[d.Number])
		}
	}
	return nil
}
