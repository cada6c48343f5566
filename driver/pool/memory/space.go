package memory

import (
	"context"

	"github.com/loam-storage/loam/driver/volume"
)

// Status counts what is free.
func (p *Pool) Status(context.Context) (volume.PoolStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	free := p.free()
	s := volume.PoolStatus{
		Pool: p.name, TotalBytes: p.total, FreeBytes: free, LargestBytes: free / unit * unit, LeastBytes: unit, BlockBytes: volume.DefaultBlockBytes, Healthy: true,
	}
	for _, d := range p.volumes {
		if err := d.Intact(); err != nil {
			s.Healthy, s.Message = false, err.Error()
		}
	}
	for _, sn := range p.snapshots {
		if err := sn.Intact(); err != nil {
			s.Healthy, s.Message = false, err.Error()
		}
	}
	return s, nil
}

// free returns the bytes that nothing holds. A snapshot holds as much as its volume did.
func (p *Pool) free() volume.Size {
	free := p.total
	for _, d := range p.volumes {
		free -= d.Size
	}
	for _, s := range p.snapshots {
		free -= s.Size
	}
	return free
}

func (p *Pool) room(size volume.Size) error {
	if free := p.free(); size > free {
		return volume.Errorf(volume.Full, "pool %q has %s free, %s asked", p.name, free, size)
	}
	return nil
}
