package loop

import (
	"context"
	"os"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// Attach makes a loop device of the image, unless it has one.
func (p *Pool) Attach(ctx context.Context, id volume.ID, readOnly bool) (string, error) {
	v, err := p.Get(ctx, id)
	if err != nil {
		return "", err
	}
	if !v.Attached() {
		image := p.imagePath(id.Name)
		p.refill(image)
		device, err := p.machine.AttachLoop(ctx, image, readOnly, v.BlockBytes)
		if err != nil {
			return "", volume.Errorf(volume.KindOf(err), "volume %q: %w", id, err)
		}
		return device, nil
	}
	if v.ReadOnly != readOnly {
		return "", volume.Errorf(volume.Exists, "volume %q is attached already with read-only %t, not %t: detach it first", id, v.ReadOnly, readOnly)
	}
	return v.Device, p.machine.SettleLoop(v.Device, readOnly)
}

// refill gives a preallocated image back the blocks that its user discarded (fstrim). They are
// promised to it all the while, but on a file system that is not the pool's own others may have taken
// them. Then it stays without: its data is there, and Status says what is lacking.
func (p *Pool) refill(path string) {
	size, blocks, err := host.Allocated(path)
	if p.config.Sparse || err != nil || blocks >= size {
		return
	}
	if image, err := os.OpenFile(path, os.O_RDWR, 0); err == nil {
		_ = host.FillHoles(image, size)
		_ = image.Close()
	}
}

// Detach takes the loop device away.
func (p *Pool) Detach(ctx context.Context, id volume.ID) error {
	_, file, err := p.read(id)
	if volume.Is(err, volume.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	l, attached, err := p.machine.LoopOf(p.imagePath(id.Name), file)
	if err != nil || !attached {
		return err
	}
	if err := p.machine.DetachLoop(ctx, l.Device, file); err != nil {
		return volume.Errorf(volume.KindOf(err), "volume %q: %w", id, err)
	}
	return nil
}
