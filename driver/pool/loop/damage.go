package loop

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// damaged returns what is known of a volume that lacks a part, with what to do about it. The kind of its error is NotFound where
// nothing of a volume is there, and Unavailable where the pool itself cannot be read. One that nobody can tell whether it
// holds data counts as one that does.
func (p *Pool) damaged(id volume.ID, all parts) (volume.Volume, host.FileID, error) {
	if err := p.here(); err != nil {
		return volume.Volume{}, host.FileID{}, err
	}
	dir := p.volumeDir(id.Name)
	if info, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) || (err == nil && !info.IsDir()) {
		return volume.Volume{}, host.FileID{}, p.missing(id)
	}
	copied, copyErr := exists(filepath.Join(dir, copyMark))
	if errors.Is(all.recordErr, fs.ErrNotExist) && volume.Is(all.imageErr, volume.NotFound) && all.markErr == nil && all.mark == volume.Used && copyErr == nil && !copied {
		return volume.Volume{}, host.FileID{}, p.missing(id) // something of somebody else's
	}
	v := volume.Volume{ID: id, Size: all.size, Mark: all.mark, Created: all.record.Created, Claim: all.record.Claim}
	v = v.Damaged(damageOf(dir, volumeRecord, all.recordErr, errors.Join(all.imageErr, all.markErr)))
	if all.recordErr == nil {
		v.BlockBytes = blockBytesOf(all.record)
	}
	p.damage.note(id, "volume", v.Damage)
	return v, all.file, nil
}

// damageOf says what is wrong in the directory of a volume or snapshot, and what to do.
func damageOf(dir, record string, recordErr, otherErr error) string {
	switch {
	case errors.Is(recordErr, fs.ErrNotExist):
		return fmt.Sprintf("its record %q is lost: put it back, or write one (docs/on-disk.md); if it is to go, with its data, detach it and remove %q", filepath.Join(dir, record), dir)
	case recordErr != nil:
		return fmt.Sprintf("its record %q cannot be used (%v): put it back, or write one (docs/on-disk.md); if it is to go, with its data, detach it and remove %q", filepath.Join(dir, record), recordErr, dir)
	}
	return fmt.Sprintf("a part of it cannot be read (%v): put it back; if it is to go, with its data, detach it and remove %q", otherErr, dir)
}

// damage is what was found damaged when it was last read. It is for the health of the pool alone, which looks at those again.
type damage struct {
	mu    sync.Mutex
	all   bool // everything has been read once
	found map[damagedThing]string
}

type damagedThing struct {
	id   volume.ID
	what string // "volume" or "snapshot"
}

// note remembers that something is damaged, and says so in the log where it was not known.
func (d *damage) note(id volume.ID, what, says string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	thing := damagedThing{id, what}
	if d.found[thing] == says {
		return
	}
	if d.found == nil {
		d.found = map[damagedThing]string{}
	}
	d.found[thing] = says
	klog.Background().Error(nil, "a "+what+" is damaged", what, id, "damage", says)
}

// known returns what was found damaged, and whether everything has been read.
func (d *damage) known() (things []damagedThing, all bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.found)), d.all
}

func (d *damage) mended(thing damagedThing) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.found, thing)
}

// damageNow says in words what in the pool is damaged; empty for nothing. What is not read is not known to be, so the first time
// it reads all.
func (p *Pool) damageNow() (string, error) {
	things, all := p.damage.known()
	if !all {
		var err error
		if things, err = p.readAll(); err != nil {
			return "", err
		}
	}
	var says []string
	for _, thing := range things {
		text, err := p.damageOfNow(thing)
		if err != nil && !volume.Is(err, volume.NotFound) {
			return "", err
		}
		if text == "" {
			p.damage.mended(thing)
			continue
		}
		says = append(says, text)
	}
	if len(says) == 0 {
		return "", nil
	}
	slices.Sort(says)
	if len(says) == 1 {
		return says[0], nil
	}
	return fmt.Sprintf("%d volumes or snapshots are damaged: %s", len(says), says[0]), nil
}

func (p *Pool) damageOfNow(thing damagedThing) (string, error) {
	var intact error
	if thing.what == "volume" {
		v, _, err := p.readHere(thing.id)
		if err != nil {
			return "", err
		}
		intact = v.Intact()
	} else {
		s, _, err := p.readSnapshotHere(thing.id)
		if err != nil {
			return "", err
		}
		intact = s.Intact()
	}
	if intact == nil {
		return "", nil
	}
	return intact.Error(), nil
}

// readAll reads every record, and returns which are damaged.
func (p *Pool) readAll() ([]damagedThing, error) {
	names, err := p.namesIn(volumesDir, "", 0)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, _, err := p.readHere(volume.ID{Node: p.node, Pool: p.name, Name: name}); err != nil && !volume.Is(err, volume.NotFound) {
			return nil, err
		}
	}
	dirs, err := p.snapshotDirs()
	if err != nil {
		return nil, err
	}
	for _, d := range dirs {
		if _, err := p.snapshotIn(d); err != nil && !volume.Is(err, volume.NotFound) {
			return nil, err
		}
	}
	p.damage.mu.Lock()
	p.damage.all = true
	p.damage.mu.Unlock()
	things, _ := p.damage.known()
	return things, nil
}
