package loop

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// deleteLost deletes what is left of a volume that has lost its record, its image or its directory, or whose record is
// damaged: the loop device that still has the image, if nobody uses it, and the directory.
func (p *Pool) deleteLost(ctx context.Context, id volume.ID) error {
	if err := p.here(); err != nil {
		return err
	}
	image, err := exists(p.imagePath(id.Name))
	if err != nil {
		return wrap(p.name, err)
	}
	devices, err := p.devicesByName(id)
	if err != nil {
		return err
	}
	for _, d := range devices {
		if image {
			return volume.Errorf(volume.InUse, "volume %q is attached as %s: detach it first", id, d.Path)
		}
		// The image has no name any more, so nothing else leads to it, and its space is held by the device alone.
		if err := p.machine.DetachDevice(ctx, d, id.String()); err != nil {
			return volume.Errorf(volume.KindOf(err), "volume %q has lost its image, which is still attached: %w", id, err)
		}
	}
	record, err := exists(filepath.Join(p.volumeDir(id.Name), volumeRecord))
	if err != nil {
		return wrap(p.name, err)
	}
	if !image && !record {
		return nil
	}
	return p.remove("volume-"+id.Name, p.volumeDir(id.Name))
}

// devicesByName returns the loop devices whose file is, or was, the image of a volume of this pool, by the path that the kernel
// has of it. The beginning of that path may be missing, where a mount namespace that is gone had the pool's file system.
func (p *Pool) devicesByName(id volume.ID) (found []host.BlockDevice, err error) {
	all, err := p.machine.DevicesByName()
	if err != nil {
		return nil, err
	}
	root, err := filepath.EvalSymlinks(p.root)
	if err != nil {
		return nil, wrap(p.name, err)
	}
	for _, d := range all {
		if d.File == nil || !pool.IsDeviceOf(d, id) {
			continue
		}
		if above := filepath.Dir(filepath.Dir(filepath.Dir(d.File.Path))); above == "/" || strings.HasSuffix(root, above) {
			found = append(found, d)
		}
	}
	return found, nil
}
