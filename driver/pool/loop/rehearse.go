package loop

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

const (
	// defaultFreeze is how long a file system may be frozen for a copy that shares blocks, where nobody says otherwise: who
	// writes to it waits as long.
	defaultFreeze = 10 * time.Second

	// fewExtents are shared in well under a second, and not rehearsed.
	fewExtents = 20_000

	// rehearsals is how often an image is shared before its file system is frozen, at most.
	rehearsals = 3
)

// limits is how long a copy may hold writers back, and what is known of it before they are.
type limits struct {
	freeze    time.Duration // 0: as long as it takes
	estimated time.Duration // of the images rehearsed so far
	made      string        // name of the directory in "new" that the copy is made in
	watchdog  *host.Watchdog
}

// limitsFor returns what an explicit maxFreeze, or none, allows in this pool, for a copy of the volumes. A copy that reads and writes
// all bytes takes as long as it takes, unless told. Where a volume is attached, so that it may have to be frozen, the watchdog starts now, beside
// what comes before that. The limits are to be ended.
func (p *Pool) limitsFor(ctx context.Context, dir string, maxFreeze time.Duration, ids []volume.ID) (*limits, error) {
	if maxFreeze == 0 && p.reflinks {
		maxFreeze = defaultFreeze
	}
	l := &limits{freeze: maxFreeze, made: filepath.Base(dir)}
	for _, id := range ids {
		v, err := p.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		if v.Attached() {
			return l, l.watch(ctx)
		}
	}
	return l, nil
}

// watch starts the watchdog, if it has not been.
func (l *limits) watch(ctx context.Context) (err error) {
	if l.watchdog == nil {
		l.watchdog, err = host.StartWatchdog(ctx)
	}
	return err
}

func (l *limits) end() {
	if l.watchdog != nil {
		l.watchdog.End()
	}
}

// rehearse shares the blocks of a volume that is in use with image while it is not frozen, piece by piece. That is not of one
// instant, but on xfs what is shared already takes a tenth of the time when it is shared once more, so most of the work is
// done when the freeze begins; and on each file system the time that the last rehearsal took is an estimate of the freeze. The
// kind of its error is InUse where that is longer than it may be.
func (p *Pool) rehearse(ctx context.Context, image *os.File, v volume.ID, extents int, l *limits) error {
	if !p.reflinks || extents < fewExtents {
		return nil
	}
	if now, err := p.Get(ctx, v); err != nil || !now.Attached() {
		return err
	}
	from, err := os.Open(p.imagePath(v.Name))
	if err != nil {
		return wrap(p.name, err)
	}
	defer from.Close() //nolint:errcheck // only read
	var took time.Duration
	for round := range rehearsals {
		start := time.Now()
		if _, err := host.ReflinkInPieces(image, from, func() error { return nil }); err != nil {
			return wrap(p.name, err)
		}
		took = time.Since(start)
		if p.freesLate { // a btrfs shares all anew
			if err := host.SetSize(image, 0); err != nil {
				return wrap(p.name, err)
			}
			break
		}
		if round > 0 && l.estimated+took <= l.freeze/2 {
			break
		}
	}
	if l.estimated += took; l.estimated > l.freeze {
		return volume.Errorf(volume.InUse, "volume %q: its image has %d extents, and to share them its file system would be frozen for about %s, which is more than %s: "+
			"allow as much with the parameter %s of the VolumeSnapshotClass, or end the pods that use it for as long", v, extents, l.estimated.Round(time.Second/10), l.freeze, volume.KeyMaxFreeze)
	}
	return nil
}

// writtenIn returns how many bytes of an image are written, and in how many extents: what sharing it has to go through.
func writtenIn(path string) (bytes volume.Size, extents int, err error) {
	err = host.Extents(path, func(e host.Extent) {
		if e.Written {
			bytes += volume.Size(e.Bytes)
			extents++
		}
	})
	return bytes, extents, err
}
