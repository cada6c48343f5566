package memory

import (
	"context"

	"github.com/loam-storage/loam/driver/volume"
)

// Attach gives the volume a file that can be opened by its path.
func (p *Pool) Attach(_ context.Context, id volume.ID, readOnly bool) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, err := p.intact(id)
	if err != nil {
		return "", err
	}
	if d.Attached() {
		if d.ReadOnly != readOnly {
			return "", volume.Errorf(volume.Exists, "volume %q is attached already with read-only %t, not %t", id, d.ReadOnly, readOnly)
		}
		return d.Device, nil
	}
	device, err := d.content.open(d.Size)
	if err != nil {
		return "", err
	}
	d.Device, d.ReadOnly = device, readOnly
	return device, nil
}

// Detach takes the path away and keeps the bytes.
func (p *Pool) Detach(_ context.Context, id volume.ID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, err := p.find(id)
	if err != nil {
		return absent(err)
	}
	d.Device, d.ReadOnly = "", false
	return nil
}

// Mark moves the mark forward.
func (p *Pool) Mark(_ context.Context, id volume.ID, mark volume.Mark) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, err := p.intact(id)
	if err != nil {
		return err
	}
	if !d.Mark.Follows(mark) {
		return volume.Errorf(volume.InUse, "volume %q is marked %q, which cannot become %q", id, d.Volume.Mark, mark)
	}
	d.Volume.Mark = mark
	return nil
}
