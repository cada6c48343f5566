package memory

import (
	"context"
	"time"

	"github.com/loam-storage/loam/driver/volume"
)

// CreateSnapshot copies the volumes, all under one lock and so at one instant.
func (p *Pool) CreateSnapshot(_ context.Context, spec volume.SnapshotSpec) ([]volume.Snapshot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.own(spec.ID) {
		return nil, p.missing(spec.ID)
	}
	if err := spec.Check(); err != nil {
		return nil, err
	}
	if existing := p.existing(spec); len(existing) > 0 {
		return spec.InOrder(existing), volume.FitsSpec(existing, spec)
	}
	var need volume.Size
	for _, id := range spec.Volumes {
		d, err := p.intact(id)
		if err != nil {
			return nil, err
		}
		need += d.Size
	}
	if err := p.room(need); err != nil {
		return nil, err
	}
	taken, err := p.take(spec)
	if err != nil {
		return nil, err
	}
	snapshots := make([]volume.Snapshot, len(taken))
	for i, s := range taken {
		p.snapshots[s.ID.Name] = s
		snapshots[i] = s.Snapshot
	}
	return snapshots, nil
}

// existing returns the snapshots that spec's name stands for now.
func (p *Pool) existing(spec volume.SnapshotSpec) []volume.Snapshot {
	if spec.Group {
		return p.members(spec.ID)
	}
	if s := p.snapshots[spec.ID.Name]; s != nil {
		return []volume.Snapshot{s.Snapshot}
	}
	return nil
}

// take copies each volume of spec, or none.
func (p *Pool) take(spec volume.SnapshotSpec) ([]*copied, error) {
	now, taken := time.Now(), []*copied{}
	for i, id := range spec.Members() {
		source := p.volumes[spec.Volumes[i].Name]
		bytes, err := source.content.copy(source.Size)
		if err != nil {
			for _, s := range taken {
				s.content.close()
			}
			return nil, err
		}
		s := &copied{content: bytes, Snapshot: volume.Snapshot{
			ID: id, Volume: source.ID, Size: source.Size, Created: now, FSType: source.FSType, BlockBytes: source.BlockBytes, Mark: source.Mark.OfCopy(),
		}}
		if spec.Group {
			s.Group = spec.ID.Name
		}
		taken = append(taken, s)
	}
	return taken, nil
}

// GetSnapshot returns one snapshot.
func (p *Pool) GetSnapshot(_ context.Context, id volume.ID) (volume.Snapshot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := p.findSnapshot(id)
	if err != nil {
		return volume.Snapshot{}, err
	}
	return s.Snapshot, nil
}

// ListSnapshots returns a page of the snapshots.
func (p *Pool) ListSnapshots(_ context.Context, after string, limit int) ([]volume.Snapshot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := page(p.snapshots, after, limit)
	snapshots := make([]volume.Snapshot, len(names))
	for i, name := range names {
		snapshots[i] = p.snapshots[name].Snapshot
	}
	return snapshots, nil
}

// DeleteSnapshot forgets a snapshot that is in no group.
func (p *Pool) DeleteSnapshot(_ context.Context, id volume.ID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := p.findSnapshot(id)
	if err != nil {
		return absent(err)
	}
	if err := s.Intact(); err != nil {
		return err
	}
	if s.Group != "" {
		return volume.Errorf(volume.Invalid, "snapshot %q belongs to group %q: delete the group", id, s.Group)
	}
	s.content.close()
	delete(p.snapshots, id.Name)
	return nil
}

// GetGroup returns the members of a group.
func (p *Pool) GetGroup(_ context.Context, group volume.ID) ([]volume.Snapshot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	members := p.members(group)
	if len(members) == 0 || !p.own(group) {
		return nil, p.missing(group)
	}
	return members, nil
}

// DeleteGroup forgets a group.
func (p *Pool) DeleteGroup(_ context.Context, group volume.ID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.own(group) {
		return nil
	}
	for _, s := range p.members(group) {
		if err := s.Intact(); err != nil {
			return err
		}
	}
	for _, s := range p.members(group) {
		p.snapshots[s.ID.Name].content.close()
		delete(p.snapshots, s.ID.Name)
	}
	return nil
}

// members returns the snapshots of a group in the order of their names.
func (p *Pool) members(group volume.ID) []volume.Snapshot {
	var members []volume.Snapshot
	for _, name := range page(p.snapshots, "", 0) {
		if s := p.snapshots[name]; s.Group == group.Name {
			members = append(members, s.Snapshot)
		}
	}
	return members
}

func (p *Pool) findSnapshot(id volume.ID) (*copied, error) {
	if s := p.snapshots[id.Name]; s != nil && p.own(id) {
		return s, nil
	}
	return nil, p.missing(id)
}
