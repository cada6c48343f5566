package loop

import (
	"context"
	"os"
	"path/filepath"
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
