package loop

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/loam-storage/loam/driver/host"
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

// snapshotDir is where a snapshot is: alone, or in its group.
type snapshotDir struct{ name, group, dir string }

// snapshotDirs lists the snapshots of the pool in the order of their names.
func (p *Pool) snapshotDirs() ([]snapshotDir, error) {
	names, err := p.namesIn(snapshotsDir, "", 0)
	if err != nil {
		return nil, err
	}
	dirs := make([]snapshotDir, 0, len(names))
	for _, name := range names {
		dirs = append(dirs, snapshotDir{name: name, dir: filepath.Join(p.root, snapshotsDir, name)})
	}
	groups, err := p.namesIn(groupsDir, "", 0)
	if err != nil {
		return nil, err
	}
	for _, group := range groups {
		members, err := p.namesIn(filepath.Join(groupsDir, group), "", 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		for _, name := range members {
			dirs = append(dirs, snapshotDir{name: name, group: group, dir: filepath.Join(p.root, groupsDir, group, name)})
		}
	}
	slices.SortFunc(dirs, func(a, b snapshotDir) int { return strings.Compare(a.name, b.name) })
	return dirs, nil
}

// readSnapshot returns a snapshot, and where it is.
func (p *Pool) readSnapshot(id volume.ID) (volume.Snapshot, string, error) {
	s, dir, err := p.readSnapshotHere(id)
	if hereErr := p.here(); hereErr != nil {
		err = hereErr
	}
	return s, dir, err
}

func (p *Pool) readSnapshotHere(id volume.ID) (volume.Snapshot, string, error) {
	if !p.owns(id) {
		return volume.Snapshot{}, "", p.missing(id)
	}
	alone := snapshotDir{name: id.Name, dir: filepath.Join(p.root, snapshotsDir, id.Name)}
	s, err := p.snapshotIn(alone)
	if !volume.Is(err, volume.NotFound) {
		return s, alone.dir, err
	}
	groups, err := p.namesIn(groupsDir, "", 0)
	if err != nil {
		return volume.Snapshot{}, "", err
	}
	for _, group := range groups {
		in := snapshotDir{name: id.Name, group: group, dir: filepath.Join(p.root, groupsDir, group, id.Name)}
		s, err := p.snapshotIn(in)
		if !volume.Is(err, volume.NotFound) {
			return s, in.dir, err
		}
	}
	return volume.Snapshot{}, "", p.missing(id)
}

// snapshotIn reads the snapshot in a directory. What lacks a part is returned with what is known; in the directory of a group
// everything is a snapshot. The kind of its error is NotFound where nothing of a snapshot is there.
func (p *Pool) snapshotIn(d snapshotDir) (volume.Snapshot, error) {
	s := volume.Snapshot{ID: volume.ID{Node: p.node, Pool: p.name, Name: d.name}, Group: d.group}
	read := func() (r volume.Record, recordErr, imageErr error) {
		r, recordErr = readRecord(filepath.Join(d.dir, snapshotRecord))
		if recordErr == nil && r.Volume == nil {
			recordErr = volume.Errorf(volume.Internal, "it does not say what the snapshot was taken of")
		}
		_, s.Size, imageErr = host.Identify(filepath.Join(d.dir, imageName))
		return r, recordErr, imageErr
	}
	r, recordErr, imageErr := read()
	if recordErr != nil || imageErr != nil { // looked at once more: it may have come or gone between two looks
		r, recordErr, imageErr = read()
	}
	if recordErr == nil {
		s.Volume, s.Created, s.FSType, s.BlockBytes, s.Mark = *r.Volume, r.Created, r.FSType, blockBytesOf(r), r.Mark.OfCopy()
		if imageErr == nil {
			return s, nil
		}
	}
	info, err := os.Lstat(d.dir)
	nothing := errors.Is(recordErr, fs.ErrNotExist) && volume.Is(imageErr, volume.NotFound) && d.group == ""
	if nothing || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || (err == nil && !info.IsDir()) {
		return volume.Snapshot{}, p.missing(s.ID)
	}
	if err := p.here(); err != nil {
		return volume.Snapshot{}, err
	}
	s.Damage = damageOf(d.dir, snapshotRecord, recordErr, imageErr)
	p.damage.note(s.ID, "snapshot", s.Damage)
	return s, nil
}
