// Package metadata reads what LVM keeps of a volume group from where LVM keeps it: the metadata areas of its physical
// volumes. No process is started, and nothing is written.
//
// It is what "vgcfgbackup" would write into a file. What LVM asks device-mapper (what is active, open, how full a
// thin pool is) is not in it.
package metadata

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// Disk is an open physical volume.
type Disk interface {
	io.ReaderAt
	io.Closer
}

// Reader reads one volume group. What it has read it reads again only where a disk's header says that the metadata
// are others now. It is safe for concurrent use.
type Reader struct {
	// Open opens a disk so that it is read itself, and not what the page cache has of it.
	Open func(path string) (Disk, error)

	mu    sync.Mutex
	state []byte // of all disks, when group was read
	group *VolumeGroup
}

// maxTries is how often a text is read that is written over meanwhile.
const maxTries = 3

// Read reads the group that has exactly these disks. Callers share what it returns. An error means that it cannot be
// read in this way; LVM itself may still be able to.
func (r *Reader) Read(paths []string) (*VolumeGroup, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	for range maxTries {
		var g *VolumeGroup
		if g, err = r.read(paths); err == nil {
			return g, nil
		}
	}
	return nil, err
}

func (r *Reader) read(paths []string) (*VolumeGroup, error) {
	var state []byte
	var found []area
	ids := map[string]string{}
	for _, path := range paths {
		d, err := r.Open(path)
		if err != nil {
			return nil, err
		}
		defer d.Close() //nolint:errcheck // only read
		areas, id, beginning, err := readDisk(d)
		if err != nil {
			return nil, fmt.Errorf("disk %s: %w", path, err)
		}
		state, found = append(state, beginning...), append(found, areas...)
		ids[id] = path
	}
	if r.group != nil && bytes.Equal(state, r.state) {
		return r.group, nil
	}
	g, err := newest(found)
	if err != nil {
		return nil, err
	}
	if err := g.hasDisks(ids); err != nil {
		return nil, err
	}
	r.state, r.group = state, g
	return g, nil
}

// area is a metadata area that is used.
type area struct {
	disk Disk
	location
	text text
}

// readDisk reads the label and headers of a disk, and returns them also as they are.
func readDisk(r Disk) (areas []area, id string, beginning []byte, err error) {
	beginning = make([]byte, labelScan)
	if _, err := r.ReadAt(beginning, 0); err != nil {
		return nil, "", nil, err
	}
	d, err := readLabel(beginning)
	if err != nil {
		return nil, "", nil, err
	}
	for _, l := range d.areas {
		header := make([]byte, headerBytes)
		if _, err := r.ReadAt(header, int64(l.offset)); err != nil {
			return nil, "", nil, err
		}
		t, used, err := readHeader(header, l)
		if err != nil {
			return nil, "", nil, err
		}
		if used {
			areas = append(areas, area{disk: r, location: l, text: t})
		}
		beginning = append(beginning, header...)
	}
	return areas, d.id, beginning, nil
}

// newest reads the texts, and returns the one that was written last: LVM writes a change to one area after the other.
func newest(areas []area) (*VolumeGroup, error) {
	var last *VolumeGroup
	var sums []uint32 // of those that were read: most are the same
	for _, a := range areas {
		if slices.Contains(sums, a.text.sum) {
			continue
		}
		b, err := readText(a.disk, a.location, a.text)
		if err != nil {
			return nil, err
		}
		top, err := parse(b)
		if err != nil {
			return nil, err
		}
		g, err := volumeGroup(top)
		if err != nil {
			return nil, err
		}
		sums = append(sums, a.text.sum)
		if last == nil || g.SeqNo > last.SeqNo {
			last = g
		}
	}
	if last == nil {
		return nil, errors.New("no disk has metadata of a volume group")
	}
	return last, nil
}

// hasDisks says whether the group has the disks of these IDs, and no other, and notes their paths.
func (g *VolumeGroup) hasDisks(paths map[string]string) error {
	for i, d := range g.Disks {
		path, ok := paths[strings.ReplaceAll(d.ID, "-", "")]
		if d.Missing || !ok {
			return fmt.Errorf("volume group %q has other disks than were read", g.Name)
		}
		g.Disks[i].Path = path
	}
	if len(paths) != len(g.Disks) {
		return fmt.Errorf("volume group %q has %d disks, and %d were read", g.Name, len(g.Disks), len(paths))
	}
	return nil
}
