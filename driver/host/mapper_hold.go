package host

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/host/devicemapper"
	"github.com/loam-storage/loam/driver/volume"
)

// The kernel gives a new device-mapper device the least number that is free, and nobody who asks LVM for a device
// can tell it not to. So a number that must not be given out is taken, by a device of one sector that fails each
// read and write. (One without a table would do, but nothing in sysfs shows it.)

// heldPrefix begins the names of such devices, before the number. LVM makes no such names: its have a hyphen.
const heldPrefix = "loam.held."

// HoldBoundMapped takes each number of device-mapper of which there is no device, but a device node that is bound
// somewhere, and gives those back of which no node is bound any more. What follows gets other numbers, so it does
// not appear where the node is. Nothing is done where there is no device-mapper.
func (h *Host) HoldBoundMapped() error {
	major, err := mapperMajor()
	if err != nil || major == 0 {
		return err
	}
	table, err := h.Mounts()
	if err != nil {
		return err
	}
	bound := boundNodes(table)
	for n := range bound {
		if n.Major != major || unix.Access(fmt.Sprintf("/sys/dev/block/%s", n), unix.F_OK) == nil {
			continue
		}
		if err := h.holdMapped(n.Minor); err != nil {
			return err
		}
	}
	mapped, err := h.MappedDevices()
	if err != nil {
		return err
	}
	for name := range mapped {
		number, held := strings.CutPrefix(name, heldPrefix)
		minor, err := strconv.ParseUint(number, 10, 32)
		if !held || err != nil || len(bound[DeviceNumber{Major: major, Minor: uint32(minor)}]) > 0 {
			continue
		}
		if err := h.RemoveMapped(name); err != nil && !volume.Is(err, volume.InUse) && !volume.Is(err, volume.NotFound) {
			return err
		}
	}
	return nil
}

// holdMapped makes a device that has the number. Nil where somebody else has got it meanwhile. What a call that was
// killed has made without its table gets it.
func (h *Host) holdMapped(minor uint32) error {
	name := fmt.Sprintf("%s%d", heldPrefix, minor)
	err := createMapped(name, minor)
	if err == nil || volume.Is(err, volume.Busy) {
		err = h.SetMapperTable(name, MappedTable{Sectors: 1, Target: "error"})
	}
	if volume.Is(err, volume.NotFound) {
		return nil
	}
	return err
}

// createMapped makes a device without a table. The kind of its error is Busy where its name or number is taken.
func createMapped(name string, minor uint32) error {
	err := devicemapper.Create(name, unix.Mkdev(0, minor))
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENXIO) { // of the name, of the number
		return volume.Errorf(volume.Busy, "device-mapper device %q, number %d: name or number is taken", name, minor)
	}
	return failed("take the device number of", name, err)
}

// mapperMajor returns the major number of device-mapper, 0 where there is none (/proc/devices, proc_devices(5)).
func mapperMajor() (uint32, error) {
	text, err := os.ReadFile("/proc/devices")
	if err != nil {
		return 0, failed("read", "/proc/devices", err)
	}
	_, blocks, _ := strings.Cut(string(text), "Block devices:")
	for line := range strings.Lines(blocks) {
		fields := strings.Fields(line)
		if len(fields) != 2 || fields[1] != "device-mapper" {
			continue
		}
		major, err := strconv.ParseUint(fields[0], 10, 32)
		return uint32(major), failed("read", "/proc/devices", err)
	}
	return 0, nil
}
