// Package memory is a pool whose volumes live in the memory of this process. It is for tests without
// root: its devices are files that no disk holds (memfd_create(2)), so real file-system tools work on
// them, and everything is gone when the process ends.
package memory

import (
	"context"
	"slices"
	"strings"
	"sync"

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

// List returns a page of the volumes.
func (p *Pool) List(_ context.Context, after string, limit int) ([]volume.Volume, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := page(p.volumes, after, limit)
	volumes := make([]volume.Volume, len(names))
	for i, name := range names {
		volumes[i] = p.volumes[name].shown()
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
	return d.shown(), nil
}

// shown returns the volume as callers see it.
func (d *disk) shown() volume.Volume { return d.Volume.Damaged(d.Volume.Damage) }

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

// intact is find for who does something with the volume.
func (p *Pool) intact(id volume.ID) (*disk, error) {
	d, err := p.find(id)
	if err == nil {
		err = d.Intact()
	}
	return d, err
}

// Damage has a volume or snapshot of that ID be damaged, or intact again where says is empty.
func (p *Pool) Damage(id volume.ID, says string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d, err := p.find(id); err == nil {
		d.Volume.Damage = says
	}
	if s, err := p.findSnapshot(id); err == nil {
		s.Snapshot.Damage = says
	}
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
