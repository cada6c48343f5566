package vg

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// LVM suspends a volume with all that it is made of while it changes its table. Killed meanwhile, it leaves all of that
// suspended, and who writes to the volume waits. Killed while it activates or deactivates a volume, it leaves the devices of parts
// behind; of a RAID volume it refuses then to activate it again, and to remove it would leave them on blocks that are free.

// Mend mends both. With the lock, no command of LVM is in the middle of anything.
func (v *Group) Mend(ctx context.Context, g *Layout) (err error) {
	if c, err := v.cutOff(g); err != nil || c.none() {
		return err
	}
	release, err := v.Lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	if now, err := v.reads.get(ctx, v.of.Pool, v.read); err == nil { // LVM, which knows more, would wait for the lock
		g = now
	}
	c, err := v.cutOff(g)
	if err != nil || c.none() {
		return err
	}
	klog.FromContext(ctx).Info("mending what a command of LVM has left", "pool", v.of.Pool, "suspended", c.suspended, "orphans", c.orphans)
	if err := host.ThawLeft(ctx, c.suspended); err != nil {
		return err
	}
	for _, name := range c.orphans {
		if err := v.of.Machine.RemoveMapped(name); err != nil && !volume.Is(err, volume.InUse) && !volume.Is(err, volume.NotFound) {
			return err
		}
	}
	return c.removeLinks()
}

// removeLinks removes the links in /dev that lead to nothing any more. Where there is udev, it has done that.
func (c cutOff) removeLinks() error {
	for _, link := range c.links {
		if _, err := os.Readlink(link); err != nil {
			continue
		}
		if _, err := os.Stat(link); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return volume.Errorf(volume.Internal, "remove what a command of LVM has left: %w", err)
		}
		_ = os.Remove(filepath.Dir(link)) // the group's, where it was the last
	}
	return nil
}

// mendFailed is Mend after a command that failed, which may have been killed, or met what another one has left. It
// reports whether there was something to mend, and it is mended.
func (v *Group) mendFailed(ctx context.Context) bool {
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTimeout)
	defer cancel()
	g, err := v.Layout(work)
	var left cutOff
	if err == nil {
		left, err = v.cutOff(g)
	}
	if err == nil && !left.none() {
		err = v.Mend(work, g)
	}
	if err != nil {
		klog.FromContext(ctx).Error(err, "what a command of LVM may have left stays so", "pool", v.of.Pool)
	}
	return err == nil && !left.none()
}

// MendSuspended mends a device that a command of LVM has left suspended, which may have been somebody else's: whoever reads from it
// would wait for ever.
func (v *Group) MendSuspended(ctx context.Context, name string) error {
	d, active, err := v.Device(name)
	if err != nil || !active || !d.Suspended {
		return err
	}
	g, err := v.Layout(ctx)
	if err != nil {
		return err
	}
	return v.Mend(ctx, g)
}

// cutOff is the devices that a killed command has left.
type cutOff struct {
	suspended []string // each before those that it lies on, for they are resumed from the end
	orphans   []string // parts of volumes whose own device is not there, in the same order
	links     []string // that LVM may have made in /dev for those
}

func (c cutOff) none() bool { return len(c.suspended)+len(c.orphans) == 0 }

// part is what device-mapper has behind the name of a logical volume for what that is made of: halves of a thin pool,
// images of a RAID volume, and layers.
var part = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(_t(?:data|meta))?(_r(?:image|meta)_[0-9]+)?(-(?:real|cow|tpool))?$`)
})

// cutOff looks at our devices, and at those that ours lie on.
func (v *Group) cutOff(g *Layout) (c cutOff, err error) {
	mapped, err := v.of.Machine.MappedDevices()
	if err != nil {
		return c, err
	}
	below := map[string]int{}
	for _, l := range g.LVs {
		isPool := v.thin != nil && l.Name == v.thin.name
		if !v.of.Ours(l) && !isPool {
			continue
		}
		base := v.Mapped(l.Name)
		top := base
		if l.IsCOW() {
			top = v.Mapped(l.Origin) // which it is activated with
		}
		_, whole := mapped[top]
		if isPool && !whole { // one in use is below that name, which is only there for who activates it by it
			_, whole = mapped[base+"-tpool"]
		}
		for name, d := range mapped {
			rest, ok := strings.CutPrefix(name, base)
			layers := part().FindStringSubmatch(rest)
			if !ok || layers == nil {
				continue
			}
			below[name] = depth(layers[1], layers[2], layers[3])
			if d.Suspended {
				c.suspended = append(c.suspended, name)
			}
			if !whole && name != top {
				c.orphans = append(c.orphans, name)
				link := filepath.Join("/dev", v.of.Name, l.Name)
				c.links = append(c.links, link, link+layers[1]+layers[2])
			}
		}
	}
	order := func(a, b string) int { return cmp.Or(below[a]-below[b], strings.Compare(a, b)) }
	slices.SortFunc(c.suspended, order)
	slices.SortFunc(c.orphans, order)
	return c, nil
}

// depth orders the devices of one volume: those with the higher number lie below.
func depth(half, image, layer string) int {
	switch {
	case image != "":
		return 3
	case half != "":
		return 2
	case layer != "":
		return 1
	}
	return 0
}
