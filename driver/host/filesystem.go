package host

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// fsckUncorrected is the least code with which e2fsck says that something is left to do (e2fsck(8):
// the codes below are added up and mean that all was corrected).
const fsckUncorrected = 4

// Check runs e2fsck on ext4. The others have no use for a check: xfs and btrfs replay their logs when
// they are mounted.
func (h *Host) Check(ctx context.Context, device string, fsType volume.FSType) error {
	if fsType != volume.Ext4 {
		return nil
	}
	_, err := h.runner.Run(ctx, Command{Name: "e2fsck", Args: []string{"-p", device}})
	var exit *ExitError
	if errors.As(err, &exit) && exit.Code > 0 && exit.Code < fsckUncorrected {
		return nil
	}
	if err != nil {
		return volume.Errorf(volume.Internal, "check ext4 on %q: %w; it is not mounted until somebody has looked: run e2fsck -f %s", device, err, device)
	}
	return nil
}

// Grow runs the tool of the file system, which does nothing where there is nothing to gain.
func (h *Host) Grow(_ context.Context, device, mountPoint string, fsType volume.FSType) error {
	_, err := h.grower.Resize(device, mountPoint)
	if err == nil {
		return nil
	}
	why := ""
	if fsType == volume.Ext4 && !hasCapability(unix.CAP_SYS_RESOURCE) {
		why = "; the kernel grows a mounted ext4 only for a process with CAP_SYS_RESOURCE, which this one lacks: give it to loam"
	}
	return volume.Errorf(volume.Internal, "grow %s on %q, mounted at %q: %w%s", fsType, device, mountPoint, oneLine(err), why)
}

// hasCapability asks the kernel (capget(2)). What it does not say, the process is taken to have.
func hasCapability(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return true
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}

// Usage asks statfs(2). A file system without a fixed number of inodes, such as btrfs, has 0 of them.
func (h *Host) Usage(path string) (Usage, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return Usage{}, failed("statfs", path, err)
	}
	block := s.Bsize
	if s.Frsize > 0 {
		block = s.Frsize
	}
	return Usage{
		TotalBytes: int64(s.Blocks) * block, UsedBytes: int64(s.Blocks-s.Bfree) * block, AvailableBytes: int64(s.Bavail) * block,
		TotalInodes: int64(s.Files), UsedInodes: int64(s.Files - s.Ffree), FreeInodes: int64(s.Ffree),
	}, nil
}
