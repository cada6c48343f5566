package host

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/volume"
)

// prezeroed tells mke2fs that the device reads as zeros, so that neither it nor the kernel later has
// to write them (e2fsprogs 1.47; older ones refuse it by name).
const prezeroed = "assume_storage_prezeroed=1"

// Format runs mkfs and syncs the device, so that the file system is on the disk when it returns.
// Neither mkfs.xfs nor mkfs.btrfs is told to overwrite what it finds.
//
// The mkfs holds a lock on the device, as Claim does. It may outlive this process, and mkfs.btrfs keeps
// nobody else from opening the device meanwhile.
func (h *Host) Format(ctx context.Context, device string, f Format) error {
	lock, err := os.Open(device)
	if err != nil {
		return failed("open", device, err)
	}
	defer lock.Close() //nolint:errcheck // only read
	if err := lockDevice(ctx, lock); err != nil {
		return err
	}
	if _, err = h.mkfs(ctx, lock, f, !f.Unwiped); refusesPrezeroed(err) {
		_, err = h.mkfs(ctx, lock, f, false)
	}
	if err != nil {
		return volume.Errorf(volume.Internal, "make %s on %q: %w", f.Type, device, err)
	}
	return h.SyncDevice(device)
}

// refusesPrezeroed reports whether an error is that of a mke2fs which does not know the option.
func refusesPrezeroed(err error) bool {
	var exit *ExitError
	return errors.As(err, &exit) && strings.Contains(exit.Stderr, prezeroed[:strings.Index(prezeroed, "=")])
}

func (h *Host) mkfs(ctx context.Context, device *os.File, f Format, zeroed bool) (said []byte, err error) {
	var args []string
	switch f.Type {
	case volume.Ext4:
		extended := "nodiscard"
		if zeroed {
			extended += "," + prezeroed
		}
		args = append([]string{"-q", "-F", "-m", "0"}, withExtended(f.Args, extended)...)
	case volume.XFS, volume.Btrfs:
		args = append([]string{"-q", "-K"}, f.Args...)
	default:
		return nil, volume.Errorf(volume.Invalid, "file system type %q cannot be made", f.Type)
	}
	return h.runner.Run(ctx, Command{Name: "mkfs." + string(f.Type), Args: append(args, device.Name()), Inherit: []*os.File{device}})
}

// withExtended puts more extended options in front of the caller's own: of several -E mke2fs reads
// only the last one.
func withExtended(args []string, options string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		switch {
		case arg == "-E" && i+1 < len(args):
			args[i+1] = options + "," + args[i+1]
			return args
		case strings.HasPrefix(arg, "-E") && len(arg) > len("-E"):
			args[i] = "-E" + options + "," + arg[len("-E"):]
			return args
		}
	}
	return append(args, "-E", options)
}

// Zero writes zeros in a way that lets the device below keep its blocks (BLKZEROOUT asks for that).
func (h *Host) Zero(ctx context.Context, device string) error {
	f, err := h.openExclusive(device, os.O_WRONLY)
	if err != nil {
		return failed("zero", device, err)
	}
	defer closeExclusive(f) //nolint:errcheck // synced below
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return failed("zero", device, err)
	}
	const step = 1 << 30 // so that ctx is looked at now and then
	for at := int64(0); at < size; at += step {
		if err := ctx.Err(); err != nil {
			return volume.Errorf(volume.Unavailable, "zero %q: %w", device, err)
		}
		if err := ioctlZeroOut(f, uint64(at), uint64(min(step, size-at))); err != nil {
			return failed("zero", device, err)
		}
	}
	return failed("zero", device, f.Sync())
}

// SyncDevice writes what the kernel still holds back of a device or file to the disk.
func (h *Host) SyncDevice(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return failed("sync", path, err)
	}
	return errors.Join(failed("sync", path, f.Sync()), f.Close())
}
