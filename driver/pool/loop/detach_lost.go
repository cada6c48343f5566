package loop

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// detachLost detaches the loop devices whose file was the image of a volume of this pool, by the path that the kernel has of it, and has
// no name any more. So nothing else leads to it, and its space is held by the device alone. The beginning of that path may be missing, where a
// mount namespace that is gone had the pool's file system.
func (p *Pool) detachLost(ctx context.Context, id volume.ID) error {
	if !p.owns(id) {
		return nil
	}
	all, err := p.machine.DevicesByName()
	if err != nil {
		return err
	}
	root, err := filepath.EvalSymlinks(p.root)
	if err != nil {
		return wrap(p.name, err)
	}
	for _, d := range all {
		if d.File == nil || !d.File.Deleted || !pool.IsDeviceOf(d, id) {
			continue
		}
		above := filepath.Dir(filepath.Dir(filepath.Dir(d.File.Path)))
		if above != "/" && !strings.HasSuffix(root, above) {
			continue
		}
		if err := p.machine.DetachDevice(ctx, d, id.String()); err != nil {
			return volume.Errorf(volume.KindOf(err), "volume %q has lost its image, which is still attached: %w", id, err)
		}
	}
	return nil
}
