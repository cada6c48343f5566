package host

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/loam-storage/loam/driver/volume"
)

// Mapped is a device-mapper device.
type Mapped struct {
	Device    string // path of its node as the kernel names it, /dev/dm-3
	UUID      string // which says what it is, whatever its name; LVM's begins with "LVM-"
	ReadOnly  bool
	Suspended bool
}

// MappedDevices returns the device-mapper devices of this machine by their names. It reads sysfs and
// starts no process.
func (h *Host) MappedDevices() (map[string]Mapped, error) {
	entries, err := os.ReadDir("/sys/block")
	if err != nil {
		return nil, volume.Errorf(volume.Internal, "list the block devices: %w", err)
	}
	devices := map[string]Mapped{}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "dm-") {
			continue
		}
		dir := filepath.Join("/sys/block", entry.Name())
		name, err := readSysfs(filepath.Join(dir, "dm/name"))
		if err != nil {
			continue // it went away meanwhile
		}
		uuid, err := readSysfs(filepath.Join(dir, "dm/uuid"))
		if err != nil {
			continue
		}
		readOnly, err := readSysfs(filepath.Join(dir, "ro"))
		if err != nil {
			continue
		}
		suspended, err := readSysfs(filepath.Join(dir, "dm/suspended"))
		if err != nil {
			continue
		}
		devices[name] = Mapped{Device: "/dev/" + entry.Name(), UUID: uuid, ReadOnly: readOnly == "1", Suspended: suspended == "1"}
	}
	return devices, nil
}

// NotHeld says whether nobody has the device mounted, claimed, or its node bound for its owner at another path. The
// kind of its error is InUse.
func (h *Host) NotHeld(device, owner string) error {
	release, err := h.Claim(device)
	if volume.Is(err, volume.Busy) {
		return volume.Errorf(volume.InUse, "device %s is held by a mount or another process: unmount it first", device)
	}
	if err != nil {
		return err
	}
	release()
	return h.notMounted(device, owner)
}

// FlushDevice has a block device write out what it caches. Reading rights are enough for that.
func FlushDevice(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return failed("open", path, err)
	}
	defer f.Close() //nolint:errcheck // only read
	return failed("flush", path, f.Sync())
}
