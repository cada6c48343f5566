// Package loop is a pool of image files in a directory. A volume is a directory of its own with the
// image, a small record and a mark beside it, and is attached as a loop device with direct I/O. A
// snapshot shares the blocks of its volume where the file system can do that (reflink), and is a
// sparse copy where it cannot.
//
// Everything is made under a temporary name in the directory "new", synced, and renamed into its
// place, so what has a name is whole. What lies in "new" when the pool is opened is what a crash cut
// off, and is removed.
package loop

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/volume"
)

// unit is what sizes are rounded up to, in bytes: the largest block of a loop device.
const unit = 4 * volume.KiB

// Names of the directories in a pool.
const (
	volumesDir   = pool.VolumesDirectory
	snapshotsDir = "snapshots"
	groupsDir    = "groups"
	newDir       = "new"
)

// Pool is a pool.Snapshotter in a directory. It is safe for concurrent use.
type Pool struct {
	name, node string
	config     Config
	machine    *host.Host
	root       string       // where the directories are
	identity   string       // the text of the file with the pool's identity; empty only while one without is inspected
	id         string       // in it
	rootFile   host.FileID  // what root was when the pool was opened
	release    func() error // lets the machine forget the pool when it is told to; nil while only inspected
	own        *filesystem  // the pool's own file system, nil where it has none
	lock       *os.File     // nil while only inspected

	reflinks  bool // images can share blocks
	freesLate bool // space is given back only by host.SyncFilesystem

	space  sync.Mutex        // held while space is looked for and taken, never by who only looks
	state  sync.Mutex        // of those below
	making map[string]making // what is being made, by its directory
	shares bool              // false only while no two images can share a block

	surveyed  *survey // nil until there was one; replaced, never changed
	surveying bool    // one is at work for surveyLater
	removed   int     // counts directories that were removed
	surveys   sync.WaitGroup
	closing   context.Context // ends surveys
	closeNow  context.CancelFunc

	instant sync.Mutex     // held while volumes are frozen and copied
	held    pool.HeldTimes // how long those were

	damage damage
}

var (
	_ pool.Snapshotter = (*Pool)(nil)
	_ pool.Losable     = (*Pool)(nil)
)

// Open opens the pool of the given name on the given node, makes it where there is none and the configuration says so,
// and removes what a crash left half made. Nobody else may have it open. The kind of its error is Invalid
// for a configuration that cannot be met, Full where there is no room for it, and Unavailable where
// another process has it, or what is there is not this pool.
func Open(ctx context.Context, name, node string, c Config, machine *host.Host) (_ *Pool, err error) {
	if err := c.Check(); err != nil {
		return nil, wrap(name, err)
	}
	p := newPool(name, node, c, machine)
	d, err := p.decide() // before anything is changed, the lock included
	if err == nil && d == identity.Make {
		err = identity.MakeDirectory(c.Directory)
	}
	if err == nil {
		err = p.takeLock()
	}
	if err != nil {
		return nil, wrap(name, err)
	}
	defer func() {
		if err != nil {
			_ = p.Close() // the error that is returned says more
		}
	}()
	if c.SizeBytes > 0 {
		if p.own, err = openFilesystem(ctx, c, d == identity.Make, machine); err != nil {
			return nil, wrap(name, err)
		}
		p.root = p.own.mountPoint
	}
	if d, err = p.decide(); err != nil { // with all of it to be seen, and nobody else at work
		return nil, wrap(name, err)
	}
	if p.own != nil {
		err = p.own.grow(ctx)
	}
	if err == nil {
		err = p.prepare(ctx, d)
	}
	if err != nil {
		return nil, wrap(name, err)
	}
	return p, nil
}

// Inspect opens a pool only to look at it: Status, Get and the lists work, also while another process
// has it open. The kind of its error is Unavailable where the pool is not there, or what is there is not this pool.
func Inspect(_ context.Context, name, node string, c Config, machine *host.Host) (*Pool, error) {
	if err := c.Check(); err != nil {
		return nil, wrap(name, err)
	}
	p := newPool(name, node, c, machine)
	if c.SizeBytes > 0 {
		p.root = filepath.Join(c.Directory, mountedName)
	}
	if err := p.checkMount(); err != nil {
		return nil, wrap(name, err)
	}
	found, seen, err := p.find()
	d := identity.Open
	if err == nil && seen {
		d, err = c.Known.Decide(p.at(), found)
	}
	if err == nil && !seen {
		err = failed(p.root)
	}
	if err == nil && (!seen || d == identity.Make) {
		err = volume.Errorf(volume.Unavailable, "there is no pool at %q now: start loam serve, which makes and mounts it", p.root)
	}
	if err == nil {
		err = p.identify(found)
	}
	if err != nil {
		return nil, wrap(name, err)
	}
	return p, nil
}

func newPool(name, node string, c Config, machine *host.Host) *Pool {
	p := &Pool{name: name, node: node, config: c, machine: machine, root: c.Directory, making: map[string]making{}, shares: true}
	p.closing, p.closeNow = context.WithCancel(context.Background())
	return p
}

// Name returns the pool's name.
func (p *Pool) Name() string { return p.name }

// Close lets another process open the pool, and unmounts its own file system unless a volume in it is
// attached.
func (p *Pool) Close() error {
	p.closeNow()
	p.surveys.Wait()
	var errs []error
	if p.own != nil {
		errs = append(errs, p.own.close())
	}
	if p.release != nil {
		errs = append(errs, p.release())
	}
	if p.lock != nil {
		errs = append(errs, p.lock.Close())
	}
	return wrap(p.name, errors.Join(errs...))
}

// lockPatience is how long the lock is tried for. A command that a process was just starting when it was
// killed has the lock for a moment longer than the process.
const lockPatience = 5 * time.Second

// takeLock keeps a second process from taking what this one makes for the leftovers of a crash. The
// kernel lets go of it when the process ends, in whatever way.
func (p *Pool) takeLock() error {
	lock, err := os.OpenFile(filepath.Join(p.config.Directory, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	for until := time.Now().Add(lockPatience); ; time.Sleep(10 * time.Millisecond) {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(until) {
			break
		}
	}
	if err != nil {
		err = volume.Errorf(volume.Unavailable, "%q is open in another loam (%s): a pool is served by one; stop that one, or give each loam pools of its own (%w)", p.config.Directory, cmp.Or(host.LockHolder(lock), "another process"), err)
		return errors.Join(err, lock.Close())
	}
	p.lock = lock
	return nil
}

// prepare gives the pool what was decided that it lacks, removes what is half made, and syncs what is whole. A process
// that was killed may not have come to that: a volume may have lost its mark, and the mark must not come back when
// the power goes after the volume was written to.
func (p *Pool) prepare(ctx context.Context, d identity.Decision) error {
	if err := p.establish(d); err != nil {
		return err
	}
	if err := p.removeHalfMade(ctx); err != nil {
		return err
	}
	if err := p.trim(); err != nil {
		return err
	}
	var err error
	if p.freesLate, err = host.FreesLate(p.root); err != nil {
		return err
	}
	if p.reflinks, err = canReflink(filepath.Join(p.root, newDir)); err != nil {
		return err
	}
	return host.SyncFilesystem(p.root)
}

func (p *Pool) owns(id volume.ID) bool { return id.Node == p.node && id.Pool == p.name }

// missing is the error for what is not there: NotFound, unless the pool itself is not.
func (p *Pool) missing(id volume.ID) error {
	if err := p.here(); err != nil {
		return err
	}
	return volume.Errorf(volume.NotFound, "pool %q has no %q", p.name, id)
}

// wrap names the pool in an error that does not come from a call for one volume.
func wrap(name string, err error) error {
	if err == nil {
		return nil
	}
	return volume.Errorf(volume.KindOf(err), "pool %q: %w", name, err)
}
