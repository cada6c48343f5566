package loop

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// atOneInstant calls capture while the given volumes do not change. Those that are mounted are frozen
// meanwhile. One that is attached and not mounted cannot be held: its device is synced, and where
// capture is more than one step of the kernel's, it is seen to that nobody wrote in between. Busy if
// somebody did. While something is frozen, capture calls beat each few moments and ends with its error; else beat is nil.
func (p *Pool) atOneInstant(ctx context.Context, ids []volume.ID, l *limits, capture func(beat func() error) error) (err error) {
	p.instant.Lock()
	defer p.instant.Unlock()
	mounted, bare, err := p.inUse(ctx, ids)
	if err != nil {
		return err
	}
	for _, v := range bare {
		if err := p.machine.SyncDevice(v.Device); err != nil {
			return err
		}
	}
	if len(mounted) > 0 {
		return p.frozen(ctx, mounted, bare, l, capture)
	}
	before, err := p.settled(bare)
	if err != nil {
		return err
	}
	if err := capture(nil); err != nil {
		return err
	}
	if !p.reflinks || len(ids) > 1 {
		return p.unwritten(bare, before)
	}
	return nil
}

// held is a volume that is mounted, and where.
type held struct {
	volume     volume.Volume
	mountPoint string
}

// frozen calls capture while the file systems of volumes are frozen, and says in the log for how long that was. The
// kind of its error is InUse where it would have been for longer than it may be. A file system that somebody else has frozen
// stays so, and has to: Busy where it was thawed meanwhile, or written to, which is seen also where it was frozen again.
func (p *Pool) frozen(ctx context.Context, mounted []held, bare []volume.Volume, l *limits, capture func(beat func() error) error) error {
	mountPoints := make([]string, len(mounted))
	for i, h := range mounted {
		mountPoints[i] = h.mountPoint
	}
	if err := l.watch(ctx); err != nil {
		return wrap(p.name, err)
	}
	start, note := time.Now(), ""
	ended := func(others []string) {
		p.held.Note(ctx, p.name, time.Since(start), "mountPoints", mountPoints, "frozenByOthers", others)
	}
	frozen, err := l.watchdog.Freeze(mountPoints)
	if err != nil {
		ended(nil)
		return wrap(p.name, err)
	}
	others := frozen.Others()
	unheld := slices.Clone(bare) // by us
	for _, h := range mounted {
		if slices.Contains(others, h.mountPoint) {
			unheld = append(unheld, h.volume)
		} else {
			note += h.volume.ID.Name + "\n"
		}
	}
	before, err := p.settled(unheld)
	if err == nil {
		err = os.WriteFile(p.notePath(l.made), []byte(note), 0o600) // not synced: when the power goes, nothing is frozen
	}
	if err == nil {
		err = capture(p.beating(frozen, l))
	}
	err = errors.Join(err, wrap(p.name, frozen.Thaw()))
	ended(others)
	if err != nil {
		return err
	}
	return p.unwritten(unheld, before)
}

// beating returns what tells the watchdog that there is still work to do, and ends with an error where that takes too long.
func (p *Pool) beating(frozen *host.Frozen, l *limits) func() error {
	start := time.Now()
	return func() error {
		if l.freeze > 0 && time.Since(start) > l.freeze {
			return volume.Errorf(volume.InUse, "pool %q: the copy took longer than the %s for which file systems may be frozen, and was given up: allow more with the parameter %s of the VolumeSnapshotClass, or end the pods that use the volumes for as long", p.name, l.freeze, volume.KeyMaxFreeze)
		}
		return frozen.Beat()
	}
}

// inUse returns the volumes that are mounted, and those that are attached only.
func (p *Pool) inUse(ctx context.Context, ids []volume.ID) (mounted []held, bare []volume.Volume, err error) {
	for _, id := range ids {
		v, err := p.Get(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		if err := v.Usable(); err != nil {
			return nil, nil, err // what is written through another device is not held back
		}
		if !v.Attached() {
			continue
		}
		mountPoint, is, err := p.machine.MountPoint(v.Device)
		if err != nil {
			return nil, nil, volume.Errorf(volume.KindOf(err), "volume %q: %w", id, err)
		}
		if is {
			mounted = append(mounted, held{volume: v, mountPoint: mountPoint})
		} else {
			bare = append(bare, v)
		}
	}
	return mounted, bare, nil
}

func (p *Pool) writes(volumes []volume.Volume) ([]host.Writes, error) {
	writes := make([]host.Writes, len(volumes))
	for i, v := range volumes {
		w, err := p.machine.Writes(v.Device)
		if err != nil {
			return nil, err
		}
		writes[i] = w
	}
	return writes, nil
}

// settlePatience is how long settled waits for writes to end, while file systems are frozen.
const settlePatience = 2 * time.Second

// settled is writes once nothing is in flight any more. The kernel tells whoever waits for a write, as a sync or a freeze
// does, that it has ended a moment before it counts it as ended.
func (p *Pool) settled(volumes []volume.Volume) ([]host.Writes, error) {
	for until := time.Now().Add(settlePatience); ; time.Sleep(time.Millisecond) {
		writes, err := p.writes(volumes)
		if err != nil || time.Now().After(until) || !slices.ContainsFunc(writes, func(w host.Writes) bool { return w.InFlight > 0 }) {
			return writes, err
		}
	}
}

// unwritten says whether the volumes were left alone since before. The kind of its error is Busy.
func (p *Pool) unwritten(volumes []volume.Volume, before []host.Writes) error {
	after, err := p.writes(volumes)
	if err != nil {
		return err
	}
	for i, v := range volumes {
		if before[i] != after[i] || after[i].InFlight > 0 {
			return volume.Errorf(volume.Busy, "volume %q was written to on its device %s while it was copied, so the copy is not of one instant: try again, or detach it, or, where somebody else has frozen it, freeze it for longer", v.ID, v.Device)
		}
	}
	return nil
}

// copyFile makes image hold the bytes of the file at path: by sharing its blocks, or by copying what
// is not a hole. Without beat blocks are shared in one step of the kernel's, else in pieces.
func (p *Pool) copyFile(ctx context.Context, image *os.File, path string, beat func() error) error {
	from, err := os.Open(path)
	if err != nil {
		return wrap(p.name, err)
	}
	defer from.Close() //nolint:errcheck // only read
	shared := false
	if beat == nil {
		shared, err = host.Reflink(image, from)
		beat = func() error { return nil }
	} else {
		shared, err = host.ReflinkInPieces(image, from, beat)
	}
	if err != nil || shared {
		return wrap(p.name, err)
	}
	info, err := from.Stat()
	if err != nil {
		return wrap(p.name, err)
	}
	if err := host.SetSize(image, volume.Size(info.Size())); err != nil {
		return wrap(p.name, err)
	}
	return wrap(p.name, host.CopySparse(ctx, image, from, beat))
}

// canReflink tries it.
func canReflink(dir string) (can bool, err error) {
	var files [2]*os.File
	for i := range files {
		if files[i], err = os.CreateTemp(dir, "reflink-"); err != nil {
			return false, err
		}
		defer func() { err = errors.Join(err, files[i].Close(), os.Remove(files[i].Name())) }()
	}
	return host.Reflink(files[0], files[1])
}
