package host

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// filePatience is how long the files of all loop devices together are waited for. They are on local file systems, or
// on a network that may be away.
const filePatience = 3 * time.Second

// answered is what a loop device says of its file.
type answered struct {
	at int // in the list of devices
	id FileID
	of DeviceNumber
	on []DeviceNumber
	// hidden is as in BackingFile.
	hidden bool
	err    error
}

// readFiles asks all loop devices at once for their files, and waits for none of them longer than filePatience.
func (t blockTree) readFiles(ctx context.Context, all []BlockDevice) {
	ctx, cancel := context.WithTimeout(ctx, filePatience)
	defer cancel()
	waiting := 0
	answers := make(chan answered, len(all))
	for i, d := range all {
		if d.File == nil {
			continue
		}
		d.File.Hung = true
		waiting++
		go func(node, path string) {
			a := answered{at: i}
			if a.id, a.of, a.err = t.files(node); a.err == nil && a.of == (DeviceNumber{}) {
				a.on, a.hidden = fileSystemDevices(a.id, path)
			}
			answers <- a
		}(cmp.Or(d.Path, filepath.Join(t.dev, d.Name)), d.File.Path)
	}
	for ; waiting > 0; waiting-- {
		select {
		case a := <-answers:
			d := &all[a.at]
			d.File.Hung, d.File.ID, d.File.Hidden = false, a.id, a.hidden
			if a.of != (DeviceNumber{}) {
				a.on = []DeviceNumber{a.of}
			}
			d.Below = append(d.Below, a.on...)
		case <-ctx.Done():
			return
		}
	}
}

// loopFile asks a loop device which file it has, and which device that is where the file is the node of one. The device is
// not read from.
func loopFile(node string) (id FileID, of DeviceNumber, err error) {
	device, err := os.OpenFile(node, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return id, of, err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	info, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
	if err != nil {
		return id, of, err
	}
	if info.Rdevice != 0 {
		of = numberOf(info.Rdevice)
	}
	return fileOf(info), of, nil
}

// fileSystemDevices returns the block devices of the file system that a file is on. One with a block device has its number. A
// btrfs has numbers that are no device's, and is found by what is mounted; where the file is on no file system that is
// known here, it is hidden.
func fileSystemDevices(file FileID, path string) (on []DeviceNumber, hidden bool) {
	number := numberOf(file.Device)
	if number.Major != 0 {
		return []DeviceNumber{number}, false
	}
	table, err := mountTable()
	if err != nil {
		return nil, true
	}
	var at uint64 // the mount that the path is on, where the file is there
	var s unix.Statx_t
	if now, _, err := Identify(path); err == nil && now == file && unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &s) == nil {
		at = s.Mnt_id
	}
	for _, m := range table {
		known := uint64(m.ID) == at || m.Major == 0 && uint32(m.Minor) == number.Minor
		if m.FSType == string(volume.Btrfs) && !known {
			root, _, err := Identify(m.Mountpoint)
			known = err == nil && root.Device == file.Device
		}
		if !known {
			continue
		}
		if m.FSType != string(volume.Btrfs) {
			return nil, false // in memory, from a network, or over others
		}
		return btrfsDevices(m.Source), false
	}
	return nil, true
}

// btrfsDevices returns the devices of the btrfs that has the given one.
func btrfsDevices(source string) (on []DeviceNumber) {
	var s unix.Stat_t
	if err := unix.Stat(source, &s); err == nil {
		on = append(on, numberOf(s.Rdev))
	}
	systems, _ := filepath.Glob("/sys/fs/btrfs/*/devices")
	for _, dir := range systems {
		var members []DeviceNumber
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if n, err := readDeviceNumber(filepath.Join(dir, e.Name(), "dev")); err == nil {
				members = append(members, n)
			}
		}
		if len(on) > 0 && slices.Contains(members, on[0]) {
			return members
		}
	}
	return on
}
