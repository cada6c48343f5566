package lvm

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// Administrators move, merge, convert and cache logical volumes of ours. LVM does part of what it is asked for such a one, and
// refuses the rest with the code that it has for everything. Here is what a report shows of that, and what can be done.

// alteration says why LVM may have refused a command for a logical volume that is no longer as loam made it; nil where it is. The kind
// of its error is Busy while it is moved, and InUse where it was merged or converted.
func (p *account) alteration(g *vg.Layout, name string) error {
	l, ok := g.Find(name)
	switch {
	case !ok:
		return nil
	case g.MovedIn(name):
		return p.vg.Moving(g, name)
	case l.Merging:
		return p.merging(name)
	}
	if image := splitImage(g, name); image != "" {
		return volume.Errorf(volume.InUse, "pool %q: an image of logical volume %s/%s was split off to be merged again, and LVM does not do this until then: lvconvert --merge %[2]s/%[4]s", p.name, g.Name, name, image)
	}
	if types := p.foreignTypes(g, name); len(types) > 0 {
		return volume.Errorf(volume.InUse, "pool %q: logical volume %s/%s is no longer as loam made it, and LVM does not do this to one with %s (lvs --all --options +segtype %[2]s): take that back with lvconvert", p.name, g.Name, name, strings.Join(types, ", "))
	}
	return nil
}

func (p *account) merging(name string) error {
	return volume.Errorf(volume.InUse, "pool %q: a snapshot is being merged into logical volume %s/%s (lvconvert --merge), and this has to wait for that; where the merge waits for the volume to be unused, it begins when that is detached and attached again: see lvs --all %[2]s", p.name, p.config.VolumeGroup, name)
}

// splitImage returns the image of a RAID volume that somebody has split off and can be merged again; empty where there is none.
func splitImage(g *vg.Layout, name string) string {
	i := slices.IndexFunc(g.LVs, func(l vg.LV) bool { return !l.Hidden && strings.HasPrefix(l.Name, name+"_rimage_") })
	if i < 0 {
		return ""
	}
	return g.LVs[i].Name
}

// foreignTypes returns the types of segments that a logical volume and its parts have, and that loam makes none of in this pool.
func (p *account) foreignTypes(g *vg.Layout, name string) (types []string) {
	for _, l := range g.LVs {
		part := l.IsPartOf(name)
		if !part && (l.Hidden || l.Name != name) {
			continue
		}
		for _, s := range l.Segments {
			if s.Type != "" && !p.layout.makes(s.Type, part) && !slices.Contains(types, s.Type) {
				types = append(types, s.Type)
			}
		}
	}
	return types
}

// removeMoved makes the device of a logical volume go that pvmove is at work on, and reports whether it is one. LVM would make
// all go that are part of the move and that nobody has open at this moment, also where pods have them. When
// the move has ended, LVM activates what was moved.
func (p *lvs) removeMoved(ctx context.Context, name, identity string) (moved bool, err error) {
	g, err := p.vg.Layout(ctx)
	if err != nil {
		return false, nil // LVM says what is wrong
	}
	if l, there := g.Find(name); !there || !l.Has(identity) || !l.Moved {
		return false, nil
	}
	err = p.machine.RemoveMapped(p.vg.Mapped(name))
	if volume.Is(err, volume.InUse) {
		return true, p.isOpen(name)
	}
	if volume.Is(err, volume.NotFound) {
		err = nil
	}
	return true, errors.Join(err, p.vg.Mend(ctx, g)) // what it lay on
}

func (p *account) isOpen(name string) error {
	return volume.Errorf(volume.InUse, "pool %q: logical volume %q or a snapshot of it is open: end what uses it first", p.name, name)
}

// isMerging reports whether a snapshot is to be merged into a logical volume.
func (p *lvs) isMerging(ctx context.Context, name string) bool {
	g, err := p.vg.Layout(ctx)
	if err != nil {
		return false
	}
	l, _ := g.Find(name)
	return l.Merging
}
