package loop

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/loam-storage/loam/driver/volume"
)

// GetSnapshot reads one snapshot from the disk.
func (p *Pool) GetSnapshot(_ context.Context, id volume.ID) (volume.Snapshot, error) {
	s, _, err := p.readSnapshot(id)
	return s, err
}

// ListSnapshots reads a page of snapshots.
func (p *Pool) ListSnapshots(ctx context.Context, after string, limit int) ([]volume.Snapshot, error) {
	dirs, err := p.snapshotDirs()
	if err != nil {
		return nil, err
	}
	var snapshots []volume.Snapshot
	for _, d := range dirs {
		if d.name <= after {
			continue
		}
		if limit > 0 && len(snapshots) == limit {
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err := p.snapshotIn(d)
		if volume.Is(err, volume.NotFound) {
			continue // deleted meanwhile, or something of somebody else's
		}
		if err != nil {
			return nil, p.cause(err)
		}
		snapshots = append(snapshots, s)
	}
	if err := p.here(); err != nil { // else what was read is not of this pool
		return nil, err
	}
	return snapshots, nil
}

// DeleteSnapshot removes a snapshot taken alone.
func (p *Pool) DeleteSnapshot(_ context.Context, id volume.ID) error {
	s, dir, err := p.readSnapshot(id)
	if volume.Is(err, volume.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.Intact(); err != nil {
		return err
	}
	if s.Group != "" {
		return volume.Errorf(volume.Invalid, "snapshot %q belongs to group %q: delete the group", id, s.Group)
	}
	return p.remove("snapshot-"+id.Name, dir)
}

// GetGroup reads the snapshots of a group.
func (p *Pool) GetGroup(_ context.Context, group volume.ID) ([]volume.Snapshot, error) {
	return p.members(group)
}

// members returns the snapshots of a group in the order of their names. NotFound if there are none.
func (p *Pool) members(group volume.ID) ([]volume.Snapshot, error) {
	if !p.owns(group) {
		return nil, p.missing(group)
	}
	names, err := p.namesIn(filepath.Join(groupsDir, group.Name), "", 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, p.missing(group)
	}
	if err != nil {
		return nil, err
	}
	snapshots := make([]volume.Snapshot, len(names))
	for i, name := range names {
		dir := filepath.Join(p.root, groupsDir, group.Name, name)
		if snapshots[i], err = p.snapshotIn(snapshotDir{name: name, group: group.Name, dir: dir}); err != nil {
			return nil, err
		}
	}
	return snapshots, p.here()
}

// DeleteGroup removes a group with its snapshots in one step.
func (p *Pool) DeleteGroup(_ context.Context, group volume.ID) error {
	if !p.owns(group) {
		return nil
	}
	members, err := p.members(group)
	if err != nil && !volume.Is(err, volume.NotFound) {
		return err
	}
	for _, m := range members {
		if err := m.Intact(); err != nil {
			return err
		}
	}
	return p.remove("group-"+group.Name, filepath.Join(p.root, groupsDir, group.Name))
}
