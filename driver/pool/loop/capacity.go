package loop

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/loam-storage/loam/driver/volume"
)

// What is kept free for what the file system itself writes: directories, inodes, and the trees that
// say where the blocks of an image are. The trees grow with the images: one that is written to in single
// blocks here and there has 16 bytes of tree for each 4 KiB or 8. Status keeps back more than take, so
// what it says is free can be had although making the directory for it takes a few blocks first.
const (
	metadataBytes = 2 * volume.MiB
	statusBytes   = 2 * metadataBytes
	treeShare     = 400 // one byte of tree for so many of image
)

// Status measures the pool. It waits for nobody. Where going through all extents would take long, what it says to be free is what
// there is at least.
func (p *Pool) Status(context.Context) (volume.PoolStatus, error) {
	m, err := p.room()
	if err != nil {
		return volume.PoolStatus{}, p.cause(err)
	}
	free := max((m.free-m.need/treeShare-statusBytes)/(treeShare+1)*treeShare, 0)
	s := volume.PoolStatus{
		Pool: p.name, TotalBytes: max((m.total-statusBytes)/(treeShare+1)*treeShare, free), FreeBytes: free, LeastBytes: unit, BlockBytes: volume.DefaultBlockBytes,
		LargestBytes: free / unit * unit, Held: p.held.Read(), Healthy: true,
	}
	switch {
	case m.reserved >= m.size:
		s.Healthy = false
		s.Message = fmt.Sprintf("reserve keeps back %s, and the file system has %s: nothing can be made in it", m.reserved, m.size)
	case m.free < 0 && m.exact:
		s.Healthy = false
		s.Message = fmt.Sprintf("volumes and snapshots may come to need %s more than the file system has%s: remove some, or what else is in it", -m.free, m.kept())
	}
	if says, err := p.damageNow(); err != nil {
		return volume.PoolStatus{}, p.cause(err)
	} else if says != "" && s.Healthy { // and what is free can be had
		s.Healthy, s.Message = false, says
	}
	why, err := p.ailing()
	if err != nil {
		return volume.PoolStatus{}, p.cause(err)
	}
	if why != "" { // and nothing can be made
		s.Healthy, s.Message, s.FreeBytes, s.LargestBytes = false, why, 0, 0
	}
	return s, nil
}

// making is what was promised to an image that is being made.
type making struct {
	bytes    volume.Size
	snapshot bool
	copy     bool // it may share blocks
}

// take sees to it that bytes are free, and runs allocate before anybody else can take them. The kind of
// its error is Full where they are not free.
func (p *Pool) take(bytes volume.Size, allocate func() error) error {
	p.space.Lock()
	defer p.space.Unlock()
	if err := p.isFree(bytes); err != nil {
		return err
	}
	return wrap(p.name, allocate())
}

// takeFor is take for the image that is made in dir. Until letGo it is counted with all that m says.
func (p *Pool) takeFor(dir string, m making, allocate func() error) error {
	return p.take(m.bytes, func() error {
		p.state.Lock()
		p.making[dir] = m
		p.shares = p.shares || m.copy
		p.state.Unlock()
		return allocate() // if it fails, letGo comes all the same
	})
}

// takeForCopy is takeFor for an image that is going to be a copy. It is marked as one that may share
// blocks before it has the first of them, so it is never measured as one that has all to itself.
func (p *Pool) takeForCopy(dir string, m making) error {
	m.copy = true
	return p.takeFor(dir, m, func() error { return touch(filepath.Join(dir, copyMark)) })
}

// checkOwed says whether the pool can still give all that it has promised. The kind of its error is Full.
func (p *Pool) checkOwed() error {
	m, err := p.measureFor(func(m measured) bool { return m.free >= 0 })
	if err == nil && m.free < 0 {
		err = volume.Errorf(volume.Full, "more was written meanwhile than there is room for beside a snapshot: %s are lacking; %s", -m.free, m.taken())
	}
	if err != nil {
		return p.cause(err)
	}
	return nil
}

// isFree says whether so many bytes can be given out. The kind of its error is Full.
func (p *Pool) isFree(bytes volume.Size) error {
	fits := func(m measured) bool {
		free := m.usable()
		return bytes <= free && bytes+bytes/treeShare <= free
	}
	m, err := p.measureFor(fits)
	if err != nil {
		return p.cause(err)
	}
	if !fits(m) {
		return volume.Errorf(volume.Full, "pool %q has %s free, %s asked: %s", p.name, max(m.usable(), 0), bytes, m.taken())
	}
	return nil
}

// usable returns what can be given out besides what the file system itself comes to need.
func (m measured) usable() volume.Size { return m.free - m.need/treeShare - metadataBytes }

// taken says what the room of a pool goes to.
func (m measured) taken() string {
	return fmt.Sprintf("of the %s that it can give out, %s are promised to its volumes and snapshots%s", max(m.total, 0), m.need, m.kept())
}

// kept says what the reserve keeps back, if it does.
func (m measured) kept() string {
	if m.reserved == 0 {
		return ""
	}
	return fmt.Sprintf(", beside the %s of its %s that reserve keeps back", m.reserved, m.size)
}

// letGo ends the counting of what is made in dir or below it. If it succeeded it has been counted
// under its name since, so do is run in the same moment.
func (p *Pool) letGo(dir string, do func() error) error {
	p.state.Lock()
	defer p.state.Unlock()
	for made := range p.making {
		if made == dir || filepath.Dir(made) == dir {
			delete(p.making, made)
		}
	}
	return do()
}
