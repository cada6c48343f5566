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
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// CreateSnapshot copies the images of all volumes at one instant into one directory, and renames that.
func (p *Pool) CreateSnapshot(ctx context.Context, spec volume.SnapshotSpec) ([]volume.Snapshot, error) {
	if !p.owns(spec.ID) {
		return nil, p.missing(spec.ID)
	}
	if err := spec.Check(); err != nil {
		return nil, err
	}
	existing, err := p.existing(spec)
	if err != nil {
		return nil, err
	}
	if len(existing) > 0 {
		return spec.InOrder(existing), volume.FitsSpec(existing, spec)
	}
	temporary, final := "snapshot-"+spec.ID.Name, filepath.Join(p.root, snapshotsDir, spec.ID.Name)
	if spec.Group {
		temporary, final = "group-"+spec.ID.Name, filepath.Join(p.root, groupsDir, spec.ID.Name)
	}
	err = p.place(temporary, final, func(dir string) error { return p.capture(ctx, dir, spec) })
	if err != nil {
		return nil, err
	}
	taken, err := p.existing(spec)
	return spec.InOrder(taken), err
}

// existing returns the snapshots that spec's name stands for now, none if it is free.
func (p *Pool) existing(spec volume.SnapshotSpec) ([]volume.Snapshot, error) {
	var found []volume.Snapshot
	var err error
	if spec.Group {
		found, err = p.members(spec.ID)
	} else {
		var s volume.Snapshot
		s, _, err = p.readSnapshot(spec.ID)
		found = []volume.Snapshot{s}
	}
	if volume.Is(err, volume.NotFound) {
		return nil, nil
	}
	return found, err
}

// member is one snapshot that is being taken.
type member struct {
	volume volume.Volume
	dir    string // where its image and record go
	image  *os.File

	extents int // that are written in its volume
}

// capture makes all that belongs to a snapshot or group in dir.
func (p *Pool) capture(ctx context.Context, dir string, spec volume.SnapshotSpec) (err error) {
	limits, err := p.limitsFor(ctx, dir, spec.MaxFreeze, spec.Volumes)
	if err != nil {
		return err
	}
	defer limits.end()
	members := make([]member, len(spec.Volumes))
	for i, id := range spec.Members() {
		m := member{dir: dir}
		if m.volume, _, err = p.read(spec.Volumes[i]); err == nil {
			err = m.volume.Intact()
		}
		if err != nil {
			return err
		}
		if spec.Group {
			m.dir = filepath.Join(dir, id.Name)
			if err := os.Mkdir(m.dir, 0o700); err != nil {
				return wrap(p.name, err)
			}
		}
		if m.image, err = os.OpenFile(filepath.Join(m.dir, imageName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return wrap(p.name, err)
		}
		defer m.image.Close() //nolint:errcheck // synced with the record
		members[i] = m
	}
	if err := p.takeMembers(members); err != nil {
		return err
	}
	for _, m := range members {
		if err := p.rehearse(ctx, m.image, m.volume.ID, m.extents, limits); err != nil {
			return err
		}
	}
	err = p.atOneInstant(ctx, spec.Volumes, limits, func(beat func() error) error { return p.copyMembers(ctx, members, beat) })
	if err != nil {
		return err
	}
	if err := p.checkOwed(); err != nil {
		return err
	}
	now := time.Now()
	for _, m := range members {
		r := volume.SnapshotRecord(m.volume, now)
		if err := writeRecord(r, m.dir, snapshotRecord, m.image); err != nil {
			return wrap(p.name, err)
		}
	}
	if spec.Group {
		return wrap(p.name, host.SyncDirectory(dir))
	}
	return nil
}

// takeMembers takes the space that the copies may come to need: what is written in the volumes now. That
// takes a while, so it comes before they are frozen; checkOwed has the last word.
func (p *Pool) takeMembers(members []member) error {
	for i, m := range members {
		written, extents, err := writtenIn(p.imageOf(m))
		if err != nil {
			return wrap(p.name, err)
		}
		members[i].extents = extents
		if err := p.takeForCopy(m.dir, making{bytes: written, snapshot: true}); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pool) copyMembers(ctx context.Context, members []member, beat func() error) error {
	for _, m := range members {
		if err := p.copyFile(ctx, m.image, p.imageOf(m), beat); err != nil {
			return err
		}
	}
	return nil
}

// imageOf returns the path of the image that a member is a copy of.
func (p *Pool) imageOf(m member) string {
	return p.imagePath(m.volume.ID.Name)
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
