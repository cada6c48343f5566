package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// BlockDevice is a block device of this machine as sysfs shows it (Documentation/ABI/stable/sysfs-block).
type BlockDevice struct {
	Name       string // of the kernel: "sda1", "dm-3", "loop0"
	Path       string // of its node, empty where there is none here
	Number     DeviceNumber
	SizeBytes  volume.Size
	BlockBytes volume.Size // of a logical block; of a partition that of its disk
	MapperName string      // of a device-mapper device
	MapperUUID string      // the same; that of a logical volume begins with "LVM-"
	Below      []DeviceNumber
	File       *BackingFile // of a loop device
}

// BackingFile is what a loop device has its bytes in. The device that the file lies on is in BlockDevice.Below.
type BackingFile struct {
	// Path is what the kernel shows this process. It may be that of a mount namespace in which something else is there.
	Path    string
	Deleted bool
	ID      FileID // zero where the file did not answer

	// Hung says that the file did not answer within a moment. Who reads from the device would wait, too.
	Hung bool
	// Hidden says that the file is on a file system that is mounted nowhere in this mount namespace, and has no block device
	// of its own number that would say where it lies.
	Hidden bool
}

// BlockDevices returns the block devices of this machine with what each lies on: a partition on its disk, a
// device-mapper, md or bcache device on its slaves, and a loop device on the device that its file is on. It reads sysfs and
// the mount table, asks loop devices for their files, starts no process and reads from no device. A device that goes away
// meanwhile is left out.
func (h *Host) BlockDevices(ctx context.Context) ([]BlockDevice, error) {
	tree := blockTree{sys: "/sys", dev: "/dev", files: loopFile}
	all, err := tree.read()
	tree.readFiles(ctx, all)
	return all, err
}

// DevicesByName is BlockDevices without asking loop devices for their files: of those there is only what the kernel calls them. So
// it waits for nothing, whatever has become of the file systems and disks below.
func (h *Host) DevicesByName() ([]BlockDevice, error) {
	return blockTree{sys: "/sys", dev: "/dev"}.read()
}

// LogicalBlock returns the size in bytes of a logical block of a block device, the least that can be read or written at once, from
// sysfs: the device is not opened. The kind of its error is NotFound where there is no such device.
func LogicalBlock(path string) (volume.Size, error) {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return 0, failed("look at", path, err)
	}
	if s.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, volume.Errorf(volume.NotFound, "%q is not a block device", path)
	}
	dir := fmt.Sprintf("/sys/dev/block/%s", numberOf(s.Rdev))
	size, err := readNumber(dir + "/queue/logical_block_size")
	if isNotExist(err) { // of a partition: its disk's
		size, err = readNumber(dir + "/../queue/logical_block_size")
	}
	return volume.Size(size), failed("read the logical block size of", path, err)
}

// blockTree is where to read, which is another place in tests.
type blockTree struct {
	sys, dev string
	files    func(node string) (id FileID, of DeviceNumber, err error)
}

func (t blockTree) read() ([]BlockDevice, error) {
	entries, err := os.ReadDir(filepath.Join(t.sys, "class/block"))
	if err != nil {
		return nil, volume.Errorf(volume.Internal, "list the block devices: %w", err)
	}
	var all []BlockDevice
	for _, entry := range entries {
		if d, ok := t.device(entry.Name()); ok {
			all = append(all, d)
		}
	}
	return all, nil
}

// device reads one device, and reports false where it is not there any more.
func (t blockTree) device(name string) (d BlockDevice, ok bool) {
	dir, err := filepath.EvalSymlinks(filepath.Join(t.sys, "class/block", name))
	if err != nil {
		return d, false
	}
	d.Name = name
	sectors, sizeErr := readNumber(filepath.Join(dir, "size"))
	d.SizeBytes = volume.Size(sectors * sectorBytes)
	if d.Number, err = readDeviceNumber(filepath.Join(dir, "dev")); err != nil || sizeErr != nil {
		return d, false
	}
	queue := dir
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil { // it lies in the folder of its disk
		queue = filepath.Dir(dir)
		if disk, err := readDeviceNumber(filepath.Join(queue, "dev")); err == nil {
			d.Below = append(d.Below, disk)
		}
	}
	block, _ := readNumber(filepath.Join(queue, "queue/logical_block_size")) // 0 where it has gone
	d.BlockBytes = volume.Size(block)
	d.MapperName, _ = readSysfs(filepath.Join(dir, "dm/name"))
	d.MapperUUID, _ = readSysfs(filepath.Join(dir, "dm/uuid"))
	slaves, _ := os.ReadDir(filepath.Join(dir, "slaves"))
	for _, slave := range slaves {
		if below, err := readDeviceNumber(filepath.Join(dir, "slaves", slave.Name(), "dev")); err == nil {
			d.Below = append(d.Below, below)
		}
	}
	if file, err := readSysfs(filepath.Join(dir, "loop/backing_file")); err == nil {
		path, deleted := strings.CutSuffix(file, " (deleted)")
		d.File = &BackingFile{Path: path, Deleted: deleted}
	}
	d.Path = t.node(name, d.Number)
	return d, true
}

// node returns the path of a device's node, empty where it is not there or is that of another device.
func (t blockTree) node(name string, number DeviceNumber) string {
	path := filepath.Join(t.dev, strings.ReplaceAll(name, "!", "/"))
	var s unix.Stat_t
	if unix.Stat(path, &s) != nil || s.Mode&unix.S_IFMT != unix.S_IFBLK || numberOf(s.Rdev) != number {
		return ""
	}
	return path
}

func numberOf(device uint64) DeviceNumber {
	return DeviceNumber{Major: unix.Major(device), Minor: unix.Minor(device)}
}

// readDeviceNumber reads a file of sysfs that has a device number, such as "8:1".
func readDeviceNumber(path string) (n DeviceNumber, err error) {
	text, err := readSysfs(path)
	if err != nil {
		return n, err
	}
	major, minor, ok := strings.Cut(text, ":")
	a, majorErr := strconv.ParseUint(major, 10, 32)
	b, minorErr := strconv.ParseUint(minor, 10, 32)
	if !ok || majorErr != nil || minorErr != nil {
		return n, &fs.PathError{Op: "parse", Path: path, Err: errors.New("it is no device number")}
	}
	return DeviceNumber{Major: uint32(a), Minor: uint32(b)}, nil
}
