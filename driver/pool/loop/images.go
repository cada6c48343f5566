package loop

import (
	"path/filepath"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// image is an image file and what has been promised for it.
type image struct {
	path     string
	promised volume.Size // of what is being made
	snapshot bool
	copy     bool // it may share blocks with another one, known only where some do
}

// allocated returns how large the image is or is going to be, and how many bytes of blocks it has. Nothing of one that is
// gone, or not there yet.
func (i image) allocated() (size, blocks volume.Size, err error) {
	size, blocks, err = host.Allocated(i.path)
	if volume.Is(err, volume.NotFound) {
		return i.promised, 0, nil
	}
	return max(size, i.promised), blocks, err
}

// images lists all images of the pool, and says whether some may share blocks. Only if any might when
// it was last called does it look: new ones that may come from takeForCopy alone.
func (p *Pool) images() (images []image, shares bool, err error) {
	p.state.Lock()
	defer p.state.Unlock()
	volumes, err := p.namesIn(volumesDir, "", 0)
	if err != nil {
		return nil, false, err
	}
	snapshots, err := p.snapshotDirs()
	if err != nil {
		return nil, false, err
	}
	shares = len(snapshots) > 0
	for _, name := range volumes {
		i := image{path: p.imagePath(name)}
		if p.shares || shares {
			if i.copy, err = exists(filepath.Join(p.volumeDir(name), copyMark)); err != nil {
				return nil, false, err
			}
			shares = shares || i.copy
		}
		images = append(images, i)
	}
	for _, s := range snapshots {
		images = append(images, image{path: filepath.Join(s.dir, imageName), snapshot: true, copy: true})
	}
	for dir, m := range p.making {
		images = append(images, image{path: filepath.Join(dir, imageName), promised: m.bytes, snapshot: m.snapshot, copy: m.copy})
		shares = shares || m.copy
	}
	p.shares = shares
	return images, shares, nil
}
