package hosttest

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// Grow runs the real resize2fs. The tools of xfs and btrfs need the real mount, so for those the new
// size is only remembered.
func (m *Machine) Grow(ctx context.Context, device, mountPoint string, fsType volume.FSType) error {
	return m.step("Grow", device, func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		d, err := m.device(device)
		at := m.top(mountPoint)
		switch {
		case err != nil:
			return volume.Errorf(volume.Internal, "grow %s: %w", fsType, err)
		case at == nil || at.shows != d.Number || at.FSType != string(fsType):
			return volume.Errorf(volume.Internal, "grow %s of %q: it is not mounted at %q", fsType, device, mountPoint)
		case at.ReadOnly || m.readOnly[d.Number]:
			return volume.Errorf(volume.Internal, "grow %s of %q at %q: %w", fsType, device, mountPoint, syscall.EROFS)
		case fsType != volume.Ext4:
			m.grown[d.Number] = d.SizeBytes
			return nil
		}
		if _, err := m.runner.Run(ctx, host.Command{Name: "resize2fs", Args: []string{at.device}}); err != nil {
			return volume.Errorf(volume.Internal, "grow ext4 of %q: %w", device, err)
		}
		return nil
	})
}

// Usage reads the superblock of what is mounted there.
func (m *Machine) Usage(path string) (usage host.Usage, err error) {
	err = m.step("Usage", path, func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return volume.Errorf(volume.NotFound, "statfs %q: %w", path, err)
		}
		at := m.find(path)
		if at.device == "" || at.FSType == devFS {
			usage, err = m.real.Usage(path)
			return err
		}
		if usage, err = readUsage(at.device, volume.FSType(at.FSType)); err != nil {
			return volume.Errorf(volume.Internal, "statfs %q: %w", path, err)
		}
		if more := int64(m.grown[at.shows]) - usage.TotalBytes; more > 0 {
			usage.TotalBytes += more
			usage.AvailableBytes += more
		}
		return nil
	})
	return usage, err
}

// readUsage reads what the superblock says: ext4 at byte 1024 (Documentation/filesystems/ext4), xfs at
// byte 0 (xfs_format.h), btrfs at 64 KiB (btrfs_tree.h).
func readUsage(device string, fsType volume.FSType) (host.Usage, error) {
	f, err := os.Open(device)
	if err != nil {
		return host.Usage{}, err
	}
	defer f.Close() //nolint:errcheck // only read
	at := map[volume.FSType]int64{volume.Ext4: 1024, volume.XFS: 0, volume.Btrfs: 64 << 10}[fsType]
	super := make([]byte, 1024)
	if _, err := f.ReadAt(super, at); err != nil {
		return host.Usage{}, err
	}
	little := func(offset int) int64 { return int64(binary.LittleEndian.Uint32(super[offset:])) }
	big := func(offset int) int64 { return int64(binary.BigEndian.Uint64(super[offset:])) }
	var u host.Usage
	switch fsType {
	case volume.Ext4:
		block := int64(1024) << little(24)
		u.TotalBytes, u.AvailableBytes = little(4)*block, little(12)*block
		u.TotalInodes, u.FreeInodes = little(0), little(16)
	case volume.XFS:
		block := int64(binary.BigEndian.Uint32(super[4:]))
		u.TotalBytes, u.AvailableBytes = big(8)*block, big(144)*block
		const inodeBytes, inodeShare = 512, 4 // a quarter of the space may become inodes
		u.TotalInodes = u.TotalBytes / inodeShare / inodeBytes
		u.FreeInodes = u.TotalInodes - (big(128) - big(136))
	default:
		u.TotalBytes = int64(binary.LittleEndian.Uint64(super[0x70:]))
		u.AvailableBytes = u.TotalBytes - int64(binary.LittleEndian.Uint64(super[0x78:]))
	}
	u.UsedBytes, u.UsedInodes = u.TotalBytes-u.AvailableBytes, u.TotalInodes-u.FreeInodes
	return u, nil
}
