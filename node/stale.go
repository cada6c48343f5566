package node

import (
	"context"
	"io/fs"
	"os"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// A block volume is published by binding its device node at the target. The bind keeps the number of the device
// and not the device: where an administrator detaches that while nobody has it open, the bind stays, and shows
// nothing, or, if a release of loam that did not look or somebody else has used the number again, another device.
// What is published there is then no longer the volume; but it is there for that volume, and goes with it.

// unmountStale takes away the device node that is bound at a path for the volume of that handle although the
// device is not, or no longer, the volume's. It reports whether there was one. The device is not touched. Earlier releases
// noted no owner; then the path decides, which nobody but the orchestrator hands out, if unnoted says so.
func (s *Server) unmountStale(ctx context.Context, w view, handle, path string, unnoted bool) (bool, error) {
	m, mounted := w.at(path)
	if !mounted || !m.IsNode() {
		return false, nil
	}
	owner, err := s.machine.Owner(path)
	if err != nil {
		return false, err
	}
	if owner != handle && (owner != "" || !unnoted || !s.isBlockNode(path)) {
		return false, nil
	}
	return true, s.machine.Unmount(ctx, path)
}

// isBlockNode reports whether a path leads to the node of a block device, also of one that has gone.
func (s *Server) isBlockNode(path string) bool {
	info, err := os.Lstat(path)
	if err == nil && info.Mode()&fs.ModeDevice != 0 {
		return info.Mode()&fs.ModeCharDevice == 0
	}
	_, err = s.machine.Device(path)
	return err == nil
}

// confirm looks, after a device of v was mounted or bound at a path, whether that is still the volume's: between the
// first look and the use of a device anybody may have detached it, and its number is used again. The kind of its
// error is InUse.
func (s *Server) confirm(ctx context.Context, p pool.Pool, v volume.Volume, path string) error {
	now, err := p.Get(ctx, v.ID)
	if err == nil {
		err = now.Usable()
	}
	if err != nil {
		return err
	}
	w, err := s.look(now)
	if err != nil {
		return err
	}
	u, mounted, err := w.here(path)
	if err == nil && (!mounted || u.other || now.Device != v.Device) {
		err = volume.Errorf(volume.InUse, "volume %q: its device %s was detached while it was made to appear at %q: try again", v.ID, v.Device, path)
	}
	return err
}
