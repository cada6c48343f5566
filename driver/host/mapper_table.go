package host

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// mapperControl is where device-mapper takes its calls.
const mapperControl = "/dev/mapper/control"

// Calls of device-mapper, _IOWR(0xfd, number, struct dm_ioctl), and their flags (linux/dm-ioctl.h).
const (
	mapperRemove      = 0xc138fd04 // DM_DEV_REMOVE
	mapperSuspend     = 0xc138fd06 // DM_DEV_SUSPEND, which also resumes
	mapperStatus      = 0xc138fd07 // DM_DEV_STATUS
	mapperLoad        = 0xc138fd09 // DM_TABLE_LOAD
	mapperTableStatus = 0xc138fd0c // DM_TABLE_STATUS
	mapperMessage     = 0xc138fd0e // DM_TARGET_MSG

	mapperReadOnly   = 1 << 0  // DM_READONLY_FLAG
	mapperSuspended  = 1 << 1  // DM_SUSPEND_FLAG
	mapperTable      = 1 << 4  // DM_STATUS_TABLE_FLAG: the table and not the status
	mapperBufferFull = 1 << 8  // DM_BUFFER_FULL_FLAG
	mapperDeferred   = 1 << 17 // DM_DEFERRED_REMOVE: when nobody has the device open any more
	mapperNoFlush    = 1 << 11 // DM_NOFLUSH_FLAG: a thin pool does not write its metadata to answer
)

// mapperCall is struct dm_ioctl with room for the answer, which begins at DataStart.
type mapperCall struct {
	Version     [3]uint32
	DataSize    uint32
	DataStart   uint32
	TargetCount uint32
	OpenCount   int32
	Flags       uint32
	EventNr     uint32
	_           uint32
	Dev         uint64
	Name        [128]byte
	UUID        [129]byte
	_           [7]byte
	Answer      [4096]byte
}

const (
	mapperHeaderBytes = 312 // before Answer
	mapperSpecBytes   = 40  // struct dm_target_spec, before the text of a target
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
	err = mapperDo("read the table of", name, mapperTableStatus, mapperTable|mapperNoFlush, nil, func(call *mapperCall) error {
		spec, parameters, err := call.oneTarget(name)
		if err == nil {
			t = MappedTable{Sectors: binary.NativeEndian.Uint64(spec[8:]), Target: cString(spec[24:]), Parameters: parameters, ReadOnly: call.Flags&mapperReadOnly != 0}
		}
		return err
	})
	return t, err
}

// SetMapperTable gives the device of that name another table at once. What is written meanwhile waits.
func (h *Host) SetMapperTable(name string, t MappedTable) error {
	// struct dm_target_spec; the first sector, status and next are 0.
	spec := make([]byte, mapperSpecBytes, mapperSpecBytes+len(t.Parameters)+1)
	binary.NativeEndian.PutUint64(spec[8:], t.Sectors)
	copy(spec[24:mapperSpecBytes-1], t.Target)
	spec = append(append(spec, t.Parameters...), 0)
	flags := uint32(0)
	if t.ReadOnly {
		flags = mapperReadOnly
	}
	if err := mapperDo("load a table into", name, mapperLoad, flags, spec, nil); err != nil {
		return err
	}
	return mapperDo("resume", name, mapperSuspend, 0, nil, nil)
}

// RemoveMapped removes the device of that name, and the node in /dev/mapper where something other than udev has made one. The
// kind of its error is InUse where it is open or another device lies on it, and NotFound where there is none.
func (h *Host) RemoveMapped(name string) error {
	err := mapperDo("remove", name, mapperRemove, 0, nil, nil)
	if errors.Is(err, unix.EBUSY) {
		return volume.Errorf(volume.InUse, "device-mapper device %q is in use", name)
	}
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(filepath.Dir(mapperControl), name)); !errors.Is(err, fs.ErrNotExist) {
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
	err = mapperDo("remove", name, mapperRemove, mapperDeferred, nil, nil)
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
	return mapperDo("send a message to", name, mapperMessage, 0, append(make([]byte, 8), message+"\x00"...), nil)
}

// suspendMapped holds all writes to the device of that name, after what was under way is on the disk, and freezes
// a file system that is mounted from it. The error is EBUSY where somebody else has done either.
func suspendMapped(name string) error {
	suspended, err := isSuspended(name)
	if err == nil && suspended {
		err = volume.Errorf(volume.Busy, "device-mapper device %q is suspended already: %w", name, unix.EBUSY)
	}
	if err != nil {
		return err
	}
	return mapperDo("suspend", name, mapperSuspend, mapperSuspended, nil, nil)
}

// resumeMapped ends that. The error is EINVAL where it has ended already, as for FITHAW.
func resumeMapped(name string) error {
	suspended, err := isSuspended(name)
	if err != nil {
		return err
	}
	if !suspended {
		return unix.EINVAL
	}
	return mapperDo("resume", name, mapperSuspend, 0, nil, nil)
}

func isSuspended(name string) (suspended bool, err error) {
	err = mapperDo("look at", name, mapperStatus, mapperNoFlush, nil, func(call *mapperCall) error {
		suspended = call.Flags&mapperSuspended != 0
		return nil
	})
	return suspended, err
}

// mapperDo does one call for the device of that name, with data in the place of the answer, and hands on
// the answer. It starts no process.
func mapperDo(what, name string, request uintptr, flags uint32, data []byte, read func(*mapperCall) error) error {
	control, err := os.OpenFile(mapperControl, os.O_RDWR, 0)
	if err != nil {
		return failed("open", mapperControl, err)
	}
	defer control.Close() //nolint:errcheck // nothing is written to it
	call := mapperCall{Version: [3]uint32{4, 0, 0}, DataStart: mapperHeaderBytes, Flags: flags}
	call.DataSize = uint32(unsafe.Sizeof(call))
	if request == mapperLoad {
		call.TargetCount = 1
	}
	if copy(call.Name[:len(call.Name)-1], name) != len(name) || copy(call.Answer[:], data) != len(data) {
		return volume.Errorf(volume.Invalid, "%s %q: that is too long for device-mapper", what, name)
	}
	err = interrupted(func() error { return ioctl(control, request, unsafe.Pointer(&call)) })
	if errors.Is(err, unix.ENXIO) {
		return volume.Errorf(volume.NotFound, "there is no device-mapper device %q", name)
	}
	if err != nil || read == nil {
		return failed(what, name, err)
	}
	return read(&call)
}

// oneTarget returns the specification of the only target in an answer, and its text.
func (call *mapperCall) oneTarget(name string) (spec []byte, text string, err error) {
	from := int(call.DataStart) - mapperHeaderBytes
	if call.Flags&mapperBufferFull != 0 || call.TargetCount != 1 || from < 0 || from+mapperSpecBytes > len(call.Answer) {
		return nil, "", volume.Errorf(volume.Invalid, "device-mapper device %q has %d targets, or one too long to read", name, call.TargetCount)
	}
	spec = call.Answer[from : from+mapperSpecBytes]
	return spec, cString(call.Answer[from+mapperSpecBytes:]), nil
}

func cString(text []byte) string {
	before, _, _ := strings.Cut(string(text), "\x00")
	return before
}
