package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// sectorBytes is the unit in which the kernel counts in sysfs, whatever the device's own sectors are.
const sectorBytes = 512

// Device looks at the node and reads the size in sysfs, so the device itself is not opened.
func (h *Host) Device(path string) (Device, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return Device{}, failed("look at", path, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFBLK {
		return Device{}, volume.Errorf(volume.NotFound, "%q is not a block device", path)
	}
	number := DeviceNumber{Major: unix.Major(stat.Rdev), Minor: unix.Minor(stat.Rdev)}
	sectors, err := readNumber(fmt.Sprintf("/sys/dev/block/%s/size", number))
	if err != nil {
		return Device{}, failed("read the size of", path, err)
	}
	return Device{Number: number, SizeBytes: volume.Size(sectors * sectorBytes)}, nil
}

// notMounted says whether a device is mounted, or its node bound for its owner at another path: then it is of no
// use to wait for it. The kind of its error is InUse.
func (h *Host) notMounted(device, owner string) error {
	d, err := h.Device(device)
	if volume.Is(err, volume.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	mounts, err := h.Mounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if m.Device == d.Number || m.Source == device { // a btrfs has no device of its own
			return volume.Errorf(volume.InUse, "device %s is mounted at %q: unmount it there first", device, m.Target)
		}
	}
	return h.notBound(device, d.Number, mounts, owner)
}

// Claim opens the device with O_EXCL, which for a block device means: nobody else does, and nobody
// has it mounted (open(2)). And it locks it, for a mkfs that Format started may not have opened it so.
// Of another loop device that shows the same bytes the kernel does not know that, so each is asked.
func (h *Host) Claim(device string) (release func(), err error) {
	f, err := h.openExclusive(device, os.O_RDONLY)
	if errors.Is(err, unix.EBUSY) {
		return nil, volume.Errorf(volume.Busy, "device %q is held by a mount or another process: try again when that has ended", device)
	}
	if err != nil {
		return nil, failed("claim", device, err)
	}
	if err := lockDevice(context.Background(), f); err != nil {
		return nil, errors.Join(err, closeExclusive(f))
	}
	if err := h.notUsedThrough(device); err != nil {
		return nil, errors.Join(err, closeExclusive(f))
	}
	return func() { _ = closeExclusive(f) }, nil // it was only read
}

// lockDevice takes the lock of a device (flock(2)) until f and the copies of it that children have are
// closed. udev takes it too while it looks at a new device, so it is waited for a little. The kind of its
// error is Busy.
func lockDevice(ctx context.Context, f *os.File) error {
	err := again(ctx, loopPatience, func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }, unix.EWOULDBLOCK)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return volume.Errorf(volume.Busy, "device %q is locked by another process, which may be a mkfs that still runs: try again when that has ended", f.Name())
	}
	return failed("lock", f.Name(), err)
}

// Writes counts what was written to a device, or is being written, since it appeared: two equal
// figures with nothing in flight mean that nothing was in between (Documentation/block/stat.rst). What is in flight is read
// first, so that what ends meanwhile is counted.
func (h *Host) Writes(device string) (w Writes, err error) {
	resolved, err := filepath.EvalSymlinks(device)
	if err != nil {
		return Writes{}, failed("look at", device, err)
	}
	// "stat" counts reads in flight too, and anybody may be looking at the device.
	text, err := readSysfs("/sys/block/" + filepath.Base(resolved) + "/inflight")
	if err != nil {
		return Writes{}, failed("read the requests in flight of", device, err)
	}
	if _, err := fmt.Sscanf(text, "%d %d", new(uint64), &w.InFlight); err != nil {
		return Writes{}, volume.Errorf(volume.Internal, "requests in flight of %q are %q: %w", device, text, err)
	}
	if text, err = readSysfs("/sys/block/" + filepath.Base(resolved) + "/stat"); err != nil {
		return Writes{}, failed("read the statistics of", device, err)
	}
	w.Done, err = parseWrites(text)
	return w, err
}

// Writes is how much was written to a device, discards included.
type Writes struct {
	Done     uint64 // requests ended
	InFlight uint64 // those not ended
}

// parseWrites reads the fields "write I/Os" and "discard I/Os" of a block device's stat and returns their sum. Kernels before 4.18
// have no discards there.
func parseWrites(text string) (sum uint64, err error) {
	fields := strings.Fields(text)
	if len(fields) < 11 {
		return 0, volume.Errorf(volume.Internal, "statistics of a block device have %d fields, at least 11 expected", len(fields))
	}
	for _, i := range []int{4, 11} {
		if i >= len(fields) {
			continue
		}
		n, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return 0, volume.Errorf(volume.Internal, "statistics of a block device: %w", err)
		}
		sum += n
	}
	return sum, nil
}

func readSysfs(path string) (string, error) {
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}

func readNumber(path string) (int64, error) {
	text, err := readSysfs(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}
