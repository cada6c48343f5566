package vg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/loam-storage/loam/driver/volume"
)

// thinNumbers is who gives out numbers in the thin pool.
type thinNumbers struct {
	one  sync.Mutex             // held while a thin logical volume is made
	held atomic.Pointer[string] // why the next number cannot be given out, as far as the last attempt saw
}

// maxNumberTries is how often somebody else may take the number that was seen to be free.
const maxNumberTries = 3

// create runs an lvcreate that makes one thin logical volume, and sees to it that it
// gets a number of which the kernel has nothing. LVM gives the one after the highest that it knows of.
func (t *ThinPool) create(ctx context.Context, c Command) error {
	t.numbers.one.Lock()
	defer t.numbers.one.Unlock()
	for range maxNumberTries {
		next, err := t.freeNumber(ctx)
		if err != nil {
			return err
		}
		if err := t.group.ChangeOutside(ctx, c); err != nil {
			return err
		}
		g, err := t.group.Layout(ctx)
		if err != nil {
			return err
		}
		if made, _ := g.Find(c.Makes.Names[0]); made.ThinID == next {
			return nil
		}
		// Somebody else has made one in between, and nobody has looked at this number.
		if err := t.group.ChangeOutside(ctx, Remove(c.Makes)); err != nil {
			return err
		}
	}
	return volume.Errorf(volume.Unavailable, "pool %q: somebody else is making volumes in thin pool %q all the time: ask again", t.group.of.Pool, t.name)
}

// freeNumber returns the number that the next thin logical volume gets, if the kernel has none of it. The kind of its
// error is Unavailable where it has.
func (t *ThinPool) freeNumber(ctx context.Context) (int64, error) {
	next, free, err := t.nextNumber(t.group.now(ctx, false))
	if err != nil {
		return 0, err
	}
	if !free { // perhaps a command of LVM is just making it
		release, err := t.group.Lock(ctx)
		if err != nil {
			return 0, err
		}
		next, free, err = t.nextNumber(t.group.now(ctx, true))
		if err := errors.Join(err, release()); err != nil {
			return 0, err
		}
	}
	if free {
		t.numbers.held.Store(nil)
		return next, nil
	}
	why := t.heldNumber(next)
	t.numbers.held.Store(&why)
	return 0, volume.Errorf(volume.Unavailable, "pool %q: %s", t.group.of.Pool, why)
}

func (t *ThinPool) heldNumber(n int64) string {
	return fmt.Sprintf("thin pool %q holds a volume number %d that LVM's metadata do not have, and LVM would give its blocks to the next volume, so none is made: where nobody misses it (vgcfgrestore --list %s), dmsetup message %s 0 \"delete %[2]d\"", t.name, n, t.group.of.Name, t.Device())
}

// nextNumber returns the number that LVM gives next, and reports whether the kernel has nothing under it.
func (t *ThinPool) nextNumber(g *Layout, seeErr error) (next int64, free bool, err error) {
	if seeErr != nil {
		return 0, false, seeErr
	}
	for _, l := range g.LVs {
		if l.Pool == t.name {
			next = max(next, l.ThinID)
		}
	}
	next++
	there, err := t.group.of.Machine.ThinDeviceExists(t.Device(), next)
	if err != nil || !there {
		return next, !there, err
	}
	// LVM may have noted that it has to be deleted, and does that first.
	is, err := t.compare(g, nil)
	pool, _ := g.Find(t.name)
	return next, is.Pending && slices.Contains(pool.Deletes, next), err
}

// NumberTrouble is why nothing can be made in the thin pool, where the last attempt saw that and it is still so.
func (t *ThinPool) NumberTrouble(ctx context.Context) string {
	if t.numbers.held.Load() == nil {
		return ""
	}
	if next, free, err := t.nextNumber(t.group.now(ctx, false)); err == nil && !free {
		return t.heldNumber(next)
	}
	t.numbers.held.Store(nil)
	return ""
}
