package loop

import (
	"context"
	"errors"
	"os"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// Attach makes a loop device of the image, unless it has one.
func (p *Pool) Attach(ctx context.Context, id volume.ID, readOnly bool) (string, error) {
	v, file, err := p.read(id)
	if err != nil {
		return "", err
	}
	v, loops, err := p.withDevices(v, file)
	if err == nil {
		err = v.Usable()
	}
	switch {
	case err != nil:
		return "", err
	case !v.Attached():
		return p.attach(ctx, v, file, readOnly)
	case v.ReadOnly != readOnly:
		return "", volume.Errorf(volume.Exists, "volume %q is attached already with read-only %t, not %t: detach it first", id, v.ReadOnly, readOnly)
	}
	return v.Device, p.machine.SettleLoop(loops[0])
}

// attach makes the device, and takes it away again where somebody else has made another meanwhile.
func (p *Pool) attach(ctx context.Context, v volume.Volume, file host.FileID, readOnly bool) (string, error) {
	image := p.imagePath(v.ID.Name)
	p.refill(image)
	device, err := p.machine.AttachLoop(ctx, image, readOnly, v.BlockBytes)
	if err != nil {
		return "", volume.Errorf(volume.KindOf(err), "volume %q: %w", v.ID, err)
	}
	now, _, err := p.withDevices(v, file)
	if err == nil {
		err = now.Usable()
	}
	if err != nil {
		return "", errors.Join(err, p.machine.DetachLoop(ctx, device, file, v.ID.String()))
	}
	return device, nil
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

// Detach takes the loop device away. Another device of the image, which somebody else has made, stays; while that is
// mounted or open, the volume is InUse.
func (p *Pool) Detach(ctx context.Context, id volume.ID) error {
	v, file, err := p.read(id)
	if volume.Is(err, volume.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	v, loops, err := p.withDevices(v, file)
	if err != nil || len(loops) == 0 {
		return err
	}
	err = p.machine.DetachLoop(ctx, loops[0].Device, file, id.String())
	for _, other := range v.Others {
		err = errors.Join(err, p.machine.NotHeld(other, id.String()))
	}
	if err != nil {
		return volume.Errorf(volume.KindOf(err), "volume %q: %w", id, err)
	}
	return nil
}
