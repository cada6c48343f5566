package host

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/host/devicemapper"
	"github.com/loam-storage/loam/driver/volume"
)

// MappedTable is what a device-mapper device is made of, if that is one target.
type MappedTable struct {
	Sectors    uint64 // of 512 bytes
	Target     string // its type, such as "linear"
	Parameters string
	ReadOnly   bool
}

// MapperTable returns the table of the device of that name. The kind of its error is NotFound where there is no
// such device, and Invalid where it has more than one target.
func (h *Host) MapperTable(name string) (t MappedTable, err error) {
	err = mapperDo("read the table of", name, devicemapper.TableStatus, devicemapper.Table|devicemapper.NoFlush, nil, func(call *devicemapper.Call) error {
		spec, parameters, err := oneTarget(call, name)
		if err == nil {
			t = MappedTable{Sectors: binary.NativeEndian.Uint64(spec[8:]), Target: cString(spec[24:]), Parameters: parameters, ReadOnly: call.Flags&devicemapper.ReadOnly != 0}
		}
		return err
	})
	return t, err
}

// SetMapperTable gives the device of that name another table at once. What is written meanwhile waits.
func (h *Host) SetMapperTable(name string, t MappedTable) error {
	// struct dm_target_spec; the first sector, status and next are 0.
	spec := make([]byte, devicemapper.SpecBytes, devicemapper.SpecBytes+len(t.Parameters)+1)
	binary.NativeEndian.PutUint64(spec[8:], t.Sectors)
	copy(spec[24:devicemapper.SpecBytes-1], t.Target)
	spec = append(append(spec, t.Parameters...), 0)
	flags := uint32(0)
	if t.ReadOnly {
		flags = devicemapper.ReadOnly
	}
	if err := mapperDo("load a table into", name, devicemapper.Load, flags, spec, nil); err != nil {
		return err
	}
	return mapperFailed("resume", name, devicemapper.Swap(name))
}

// RemoveMapped removes the device of that name, and the node in /dev/mapper where something other than udev has made one. The
// kind of its error is InUse where it is open or another device lies on it, and NotFound where there is none.
func (h *Host) RemoveMapped(name string) error {
	err := mapperDo("remove", name, devicemapper.Remove, 0, nil, nil)
	if errors.Is(err, unix.EBUSY) {
		return volume.Errorf(volume.InUse, "device-mapper device %q is in use", name)
	}
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(filepath.Dir(devicemapper.Control), name)); !errors.Is(err, fs.ErrNotExist) {
		return failed("remove the node of", name, err)
	}
	return nil
}

// RemoveMappedLater has the kernel remove the device of that name and path as soon as it is mounted nowhere any more, where it
// is mounted in other mount namespaces only. It reports whether that is so. The kind of its error is InUse where it is mounted
// here, or its node bound for the owner.
func (h *Host) RemoveMappedLater(name, path, owner string) (bool, error) {
	if err := h.notMounted(path, owner); err != nil {
		return false, err
	}
	elsewhere, err := h.Elsewhere(path)
	if err != nil || elsewhere.FSType == "" {
		return false, err
	}
	err = mapperDo("remove", name, devicemapper.Remove, devicemapper.Deferred, nil, nil)
	if volume.Is(err, volume.NotFound) {
		err = nil
	}
	if err == nil {
		removeLinks(name) // nobody does when the device goes
	}
	return err == nil, err
}

// KeepMapped takes back what RemoveMappedLater has begun, but for LVM's links to the device, which nothing of loam uses.
func (h *Host) KeepMapped(name string) error { return h.MapperMessage(name, "@cancel_deferred_remove") }

// MapperMessage sends a message to the target of the device of that name.
func (h *Host) MapperMessage(name, message string) error {
	// struct dm_target_msg: the sector that says which target, 0.
	return mapperDo("send a message to", name, devicemapper.Message, 0, append(make([]byte, 8), message+"\x00"...), nil)
}

// mapperDo does one call for the device of that name, with data in the place of the answer, and hands on
// the answer. It starts no process.
func mapperDo(what, name string, request uintptr, flags uint32, data []byte, read func(*devicemapper.Call) error) error {
	call, err := devicemapper.Do(name, request, flags, data)
	if err != nil || read == nil {
		return mapperFailed(what, name, err)
	}
	return read(call)
}

// mapperFailed gives an error of package devicemapper its kind.
func mapperFailed(what, name string, err error) error {
	switch {
	case errors.Is(err, unix.ENXIO):
		return volume.Errorf(volume.NotFound, "there is no device-mapper device %q", name)
	case errors.Is(err, devicemapper.ErrTooLong):
		return volume.Errorf(volume.Invalid, "%s %q: %w", what, name, err)
	case isNotExist(err):
		return failed("open", devicemapper.Control, err)
	}
	return failed(what, name, err)
}

// oneTarget returns the specification of the only target in an answer, and its text.
func oneTarget(call *devicemapper.Call, name string) (spec []byte, text string, err error) {
	spec, behind, one := call.OneTarget()
	if !one {
		return nil, "", volume.Errorf(volume.Invalid, "device-mapper device %q has %d targets, or one too long to read", name, call.TargetCount)
	}
	return spec, cString(behind), nil
}

func cString(text []byte) string {
	before, _, _ := strings.Cut(string(text), "\x00")
	return before
}
