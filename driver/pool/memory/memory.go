// Package memory is a pool whose volumes live in the memory of this process. It is for tests without
// root: its devices are files that no disk holds (memfd_create(2)), so real file-system tools work on
// them, and everything is gone when the process ends.
package memory

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// unit is what sizes are rounded up to, in bytes.
const unit = 4 * volume.KiB

// Pool is a pool.Snapshotter in memory. It is safe for concurrent use.
type Pool struct {
	name, node string
	total      volume.Size

	mu        sync.Mutex
	volumes   map[string]*disk
	snapshots map[string]*copied
}

var _ pool.Snapshotter = (*Pool)(nil)

// disk is a volume with its bytes.
type disk struct {
	volume.Volume
	content *content
}

// copied is a snapshot with its bytes.
type copied struct {
	volume.Snapshot
	content *content
}

// New returns an empty pool that can hold size bytes.
func New(name, node string, size volume.Size) *Pool {
	return &Pool{name: name, node: node, total: size, volumes: map[string]*disk{}, snapshots: map[string]*copied{}}
}

// Name returns the pool's name.
func (p *Pool) Name() string { return p.name }

// Close forgets all volumes and snapshots.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.volumes {
		d.content.close()
	}
	for _, s := range p.snapshots {
		s.content.close()
	}
	clear(p.volumes)
	clear(p.snapshots)
	return nil
}

// Status counts what is free.
func (p *Pool) Status(context.Context) (volume.PoolStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	free := p.free()
	return volume.PoolStatus{
		Pool: p.name, TotalBytes: p.total, FreeBytes: free, LargestBytes: free / unit * unit, LeastBytes: unit, Healthy: true,
	}, nil
}

// List returns a page of the volumes.
func (p *Pool) List(_ context.Context, after string, limit int) ([]volume.Volume, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := page(p.volumes, after, limit)
	volumes := make([]volume.Volume, len(names))
	for i, name := range names {
		volumes[i] = p.volumes[name].Volume
	}
	return volumes, nil
}

// Get returns one volume.
func (p *Pool) Get(_ context.Context, id volume.ID) (volume.Volume, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, err := p.find(id)
	if err != nil {
		return volume.Volume{}, err
	}
	return d.Volume, nil
}

// Create makes a volume, or a copy of its source.
func (p *Pool) Create(_ context.Context, spec volume.Spec) (volume.Volume, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.own(spec.ID) {
		return volume.Volume{}, p.missing(spec.ID)
	}
	if d := p.volumes[spec.ID.Name]; d != nil {
		return d.Volume, d.Fits(spec)
	}
	source, sourceBytes, err := p.source(spec)
	if err != nil {
		return volume.Volume{}, err
	}
	size, err := spec.PickSize(sourceBytes, unit, unit)
	if err != nil {
		return volume.Volume{}, err
	}
	if err := p.room(size); err != nil {
		return volume.Volume{}, err
	}
	d := &disk{Volume: volume.Volume{
		ID: spec.ID, Size: size, Source: spec.Source, FSType: spec.FSType, Parameters: spec.Parameters,
		Claim: spec.Claim, Ephemeral: spec.Ephemeral, Created: time.Now(), Mark: volume.Fresh,
	}, content: &content{}}
	if source != nil {
		d.Mark = volume.Used
		if d.content, err = source.copy(size); err != nil {
			return volume.Volume{}, err
		}
	}
	p.volumes[spec.ID.Name] = d
	return d.Volume, nil
}

// source returns the bytes that spec starts from, nil for none, and how many there are.
func (p *Pool) source(spec volume.Spec) (*content, volume.Size, error) {
	switch {
	case spec.Source == nil:
		return nil, 0, nil
	case spec.Source.Kind == volume.FromSnapshot:
		s, err := p.findSnapshot(spec.Source.ID)
		if err != nil {
			return nil, 0, err
		}
		return s.content, s.Size, nil
	default:
		d, err := p.find(spec.Source.ID)
		if err != nil {
			return nil, 0, err
		}
		return d.content, d.Size, nil
	}
}

// Delete forgets a volume.
func (p *Pool) Delete(_ context.Context, id volume.ID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, err := p.find(id)
	if err != nil {
		return absent(err)
	}
	if d.Attached() {
		return volume.Errorf(volume.InUse, "volume %q is attached as %s: detach it first", id, d.Device)
	}
	d.content.close()
	delete(p.volumes, id.Name)
	return nil
}

// Expand makes a volume larger.
func (p *Pool) Expand(_ context.Context, id volume.ID, asked volume.Range) (volume.Volume, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, err := p.find(id)
	if err != nil {
		return volume.Volume{}, err
	}
	size, err := d.Grown(asked, unit)
	if err != nil || size == d.Size {
		return d.Volume, err
	}
	if err := p.room(size - d.Size); err != nil {
		return volume.Volume{}, err
	}
	if err := d.content.resize(size); err != nil {
		return volume.Volume{}, err
	}
	d.Size = size
	return d.Volume, nil
}

// Attach gives the volume a file that can be opened by its path.
func (p *Pool) Attach(_ context.Context, id volume.ID, readOnly bool) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, err := p.find(id)
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
	d, err := p.find(id)
	if err != nil {
		return err
	}
	if !d.Mark.Follows(mark) {
		return volume.Errorf(volume.InUse, "volume %q is marked %q, which cannot become %q", id, d.Volume.Mark, mark)
	}
	d.Volume.Mark = mark
	return nil
}

func (p *Pool) own(id volume.ID) bool { return id.Node == p.node && id.Pool == p.name }

func (p *Pool) missing(id volume.ID) error {
	return volume.Errorf(volume.NotFound, "pool %q has no %q", p.name, id)
}

func (p *Pool) find(id volume.ID) (*disk, error) {
	if d := p.volumes[id.Name]; d != nil && p.own(id) {
		return d, nil
	}
	return nil, p.missing(id)
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

// absent makes nil of a NotFound: what is not there needs no removing.
func absent(err error) error {
	if volume.Is(err, volume.NotFound) {
		return nil
	}
	return err
}

// page returns the names behind after, in order and at most limit of them.
func page[V any](all map[string]V, after string, limit int) []string {
	names := make([]string, 0, len(all))
	for name := range all {
		if name > after {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, strings.Compare)
	if limit > 0 && len(names) > limit {
		names = names[:limit]
	}
	return names
}
