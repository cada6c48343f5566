package loop

import (
	"context"
	"maps"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// survey is what was found when the extents of all images were last gone through. It is no truth that has to agree with the
// disk, but what a bound is reckoned from, with what the file system says now of each image and of itself.
type survey struct {
	union     volume.Size            // that the images had together, each block counted once
	blocks    map[string]volume.Size // that each had, by its path, shared ones too
	available volume.Size            // in the file system
	total     volume.Size            // as in measured
	took      time.Duration
	ended     time.Time
}

// surveyPause is how many times as long as a survey took the next one waits: with images that are written to all the time, one
// would else follow the other for nothing but a closer bound.
const surveyPause = 10

// A tree that says where the blocks of an image are has one byte for so many of them at most; st_blocks counts it.
const treeMost = 128

// roomAtLeast says what the pool has and owes at least. What an image may need is bounded by the blocks it has, shared or not. What
// the images have together is at least what those have that began empty, which share no block with each other; or what is left
// of the last survey. It begins another survey where something has changed since.
func (p *Pool) roomAtLeast(images []image) (measured, error) {
	p.state.Lock()
	s := p.surveyed
	p.state.Unlock()
	var need, began volume.Size
	blocks := make([]volume.Size, len(images))
	for i, im := range images {
		size, has, err := im.allocated()
		if err != nil {
			return measured{}, err
		}
		blocks[i] = min(has, size)
		if im.snapshot {
			need += max(blocks[i], im.promised)
		} else {
			need += size
		}
		if !im.copy {
			began += blocks[i]
		}
	}
	if err := p.here(); err != nil {
		return measured{}, err
	}
	usage, err := p.machine.Usage(p.root)
	if err != nil {
		return measured{}, err
	}
	have, available, changed := began, volume.Size(usage.AvailableBytes), true
	if s != nil {
		var left volume.Size
		left, available, changed = s.left(images, blocks, available)
		have = max(have, left)
	}
	if changed {
		p.surveyLater()
	}
	m := p.figures(need, have, available, volume.Size(usage.TotalBytes), false)
	if s != nil {
		m.total = max(m.total, s.total)
	}
	return m, nil
}

// left returns what the images have together at least, and what of the space that the file system says is available may be
// reckoned with beside that; and whether anything has changed since the survey.
//
// Since then the images have grown together by no less than the blocks of each have: blocks that are new to an image are new
// to all, and a block that is taken from one is at worst gone from all. Images that were made since by copying count nothing.
// What is available counts for no more than was, and what the images have lost: the rest somebody has freed, perhaps by making
// images share blocks. Blocks that say where blocks are may hide some that went.
func (s *survey) left(images []image, blocks []volume.Size, available volume.Size) (have, counts volume.Size, changed bool) {
	var grown, lost, trees volume.Size
	seen := 0
	for i, im := range images {
		before, known := s.blocks[im.path]
		switch {
		case known:
			seen++
			grown += blocks[i] - before
			lost += max(before-blocks[i], 0)
			trees += before / treeMost
		case !im.copy:
			grown += blocks[i]
		}
		changed = changed || !known || before != blocks[i]
	}
	if seen < len(s.blocks) {
		changed = true
		there := map[string]bool{}
		for _, im := range images {
			there[im.path] = true
		}
		for path, before := range s.blocks {
			if !there[path] {
				grown -= before
				lost += before
			}
		}
	}
	if !changed && available == s.available {
		return s.union, available, false
	}
	return s.union + grown - trees, min(available, s.available+lost), true
}

// survey goes through the extents of all images, and remembers what it finds unless a copy was made or an image removed
// meanwhile: another one may have its path.
func (p *Pool) survey(ctx context.Context) (measured, error) {
	start := time.Now()
	p.state.Lock()
	removed, storable := p.removed, !p.copying()
	p.state.Unlock()
	images, _, err := p.images()
	if err != nil {
		return measured{}, err
	}
	before, err := blocksOf(images)
	if err != nil {
		return measured{}, err
	}
	need, have, err := needOfShared(ctx, images, 0)
	if err != nil {
		return measured{}, err
	}
	m, err := p.measuredOf(need, have, true, nil)
	if err != nil {
		return measured{}, err
	}
	after, err := blocksOf(images)
	if err != nil {
		return measured{}, err
	}
	for path := range after { // what an image has got or lost meanwhile may have been seen or not
		after[path] = max(after[path], before[path])
	}
	usage, err := p.machine.Usage(p.root)
	if err != nil {
		return measured{}, err
	}
	s := &survey{union: have, blocks: after, available: volume.Size(usage.AvailableBytes), total: m.total, took: time.Since(start), ended: time.Now()}
	p.state.Lock()
	defer p.state.Unlock()
	if storable && removed == p.removed && !p.copying() {
		p.surveyed = s
	}
	return m, nil
}

// copying reports whether a copy is being made: until it has its name, blocks that it shares may go from it unseen.
func (p *Pool) copying() bool {
	for _, m := range p.making {
		if m.copy {
			return true
		}
	}
	return false
}

func blocksOf(images []image) (map[string]volume.Size, error) {
	of := map[string]volume.Size{}
	for _, i := range images {
		size, blocks, err := i.allocated()
		if err != nil {
			return nil, err
		}
		of[i.path] = min(blocks, size)
	}
	return of, nil
}

// surveyLater begins a survey, unless one is at work, or the last one ended a short while ago.
func (p *Pool) surveyLater() {
	p.state.Lock()
	defer p.state.Unlock()
	if p.surveying || p.closing.Err() != nil || (p.surveyed != nil && time.Since(p.surveyed.ended) < surveyPause*p.surveyed.took) {
		return
	}
	p.surveying = true
	p.surveys.Go(func() {
		if _, err := p.survey(p.closing); err != nil && p.closing.Err() == nil {
			klog.Background().Error(err, "the images of a pool could not be gone through: what it says to be free is a bound", "pool", p.name)
		}
		p.state.Lock()
		defer p.state.Unlock()
		p.surveying = false
	})
}

// forget takes the images of a directory that is gone out of what was found: what is made at its place is another one. Their blocks
// may all have been theirs alone.
func (p *Pool) forget(dir string) {
	p.state.Lock()
	defer p.state.Unlock()
	p.removed++
	if p.surveyed == nil {
		return
	}
	s := *p.surveyed
	s.blocks = maps.Clone(s.blocks) // somebody may be reading it
	for path, blocks := range s.blocks {
		if strings.HasPrefix(path, dir+"/") {
			s.union, s.available = s.union-blocks, s.available+blocks
			delete(s.blocks, path)
		}
	}
	p.surveyed = &s
}
