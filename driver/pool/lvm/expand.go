package lvm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// Expand extends the logical volume, and its device with it while attached. What is new of a thick one is
// wiped before anybody can read it: of one that is attached before it gets it (extendAttached), else when
// it is attached next.
func (p *Pool) Expand(ctx context.Context, id volume.ID, asked volume.Range) (volume.Volume, error) {
	v, l, err := p.find(ctx, id)
	if err == nil {
		err = v.Usable()
	}
	if err != nil {
		return volume.Volume{}, err
	}
	if err := p.grownByOthers(id, l); err != nil {
		return v, err
	}
	size, err := v.Grown(asked, p.layout.unit())
	if err != nil {
		return v, err
	}
	if size == v.Size {
		return v, p.vg.Flush() // it may have grown by a process that was killed before it came to that
	}
	if l.Merging {
		return volume.Volume{}, p.merging(l.Name)
	}
	if l.HasSnapshots { // LVM would do it, to a detached one, and its snapshots could overflow then
		g, err := p.vg.Layout(ctx)
		if err != nil {
			return volume.Volume{}, err
		}
		return volume.Volume{}, p.hasSnapshots(g, id, "expanded")
	}
	if err := p.extend(ctx, id, l, size, v.BlockBytes); err != nil {
		err = p.why(ctx, err, p.layout.cost(size)-p.layout.cost(v.Size)+p.layout.parts().meta)
		return volume.Volume{}, volume.Errorf(volume.KindOf(err), "volume %q: %w", id, err)
	}
	l.Size = size
	return p.volume(l)
}

// extend gives a logical volume its new size.
func (p *Pool) extend(ctx context.Context, id volume.ID, l vg.LV, size, block volume.Size) error {
	cost := p.layout.cost(size) - p.layout.cost(l.Size)
	g, err := p.vg.Layout(ctx)
	if err != nil {
		return err
	}
	on, err := p.layout.growsOn(g, block, cost)
	if err != nil {
		return err
	}
	return p.take(ctx, cost, func() error {
		_, active, err := p.vg.Device(l.Name)
		if err != nil {
			return err
		}
		if p.layout.wipes() && active && l.Has(tagReady) {
			return p.extendAttached(ctx, id, l, size, on)
		}
		if active && !l.Has(tagReady) { // left so by a crash while it was being wiped
			if err := p.deactivate(ctx, l.Name, tagVolume+id.String()); err != nil {
				return err
			}
		}
		if err := p.noteGrowth(ctx, id, l, size); err != nil {
			return err
		}
		return p.lvextend(ctx, l.Name, size, on)
	})
}

// noteGrowth notes in the tags of a volume that is not attached, before it grows, from where it is wiped when it is attached
// next, and up to where. One that nobody has had yet is wiped whole, and has neither.
func (p *lvs) noteGrowth(ctx context.Context, id volume.ID, l vg.LV, size volume.Size) error {
	to, noted := tagged(l.Tags, tagReadyTo)
	identity := tagVolume + id.String()
	var add, del []string
	only := vg.Only(l.Name, identity)
	switch {
	case !noted && (!l.Has(tagReady) || !p.layout.wipes()):
		return nil
	case !p.layout.wipes(): // where it does not matter
		del = []string{tagReadyTo + to}
	case l.Has(tagReady):
		add, del = replaceReadyTo(to, noted, size)
		add, del, only.Tags = append(add, wipedTag(l.Size)), append(del, tagReady), append(only.Tags, tagReady)
	default:
		add, del = replaceReadyTo(to, noted, size)
		only.Tags = append(only.Tags, tagReadyTo+to)
	}
	return p.vg.Change(ctx, vg.Tag(only, add, del))
}

// replaceReadyTo returns the tags to add and to take so that a tagReadyTo is in the place of the one that is noted.
func replaceReadyTo(was string, noted bool, is volume.Size) (add, del []string) {
	if noted && tagReadyTo+was != readyToTag(is) {
		del = []string{tagReadyTo + was}
	}
	return []string{readyToTag(is)}, del
}

// lvextend extends a logical volume with extents of the given disks or ranges, or with any.
func (p *lvs) lvextend(ctx context.Context, name string, size volume.Size, on []string) error {
	further, err := p.layout.keepReadOnly(name)
	if err != nil {
		return err
	}
	return p.vg.Change(ctx, vg.Command{Name: "lvextend", Flags: []string{"--size", fmt.Sprintf("%db", size)}, Of: name, On: on, Settings: further})
}

// maxSpareTries is how often the wiped blocks may be lost to somebody else.
const maxSpareTries = 3

// extendAttached extends a volume that is in use with blocks that were wiped before it gets them: they
// are first those of a logical volume of their own. Between that one's end and the extension somebody
// else may take them; then it begins again. The new size is noted before the volume has it: cut off in between, it is
// taken back when the pool is opened (settleReadyTo), while a volume that is larger than is noted could not be told from one
// that somebody else has extended.
func (p *Pool) extendAttached(ctx context.Context, id volume.ID, l vg.LV, size volume.Size, on []string) (err error) {
	if err := p.ofOwnType(ctx, l); err != nil {
		return err
	}
	nonce := tagNonce + rand.Text()
	spare := newLV{vg.LV{Name: p.lvName(forSpare, id.Name), Size: size - l.Size, Tags: []string{tagSpare + id.String(), tagMaking, nonce}}, on}
	to, noted := tagged(l.Tags, tagReadyTo)
	identity, changed := tagVolume+id.String(), tagReadyTo+to != readyToTag(size)
	defer func() {
		if err != nil && changed && noted {
			back := vg.Tag(vg.Only(l.Name, identity, readyToTag(size)), []string{tagReadyTo + to}, []string{readyToTag(size)})
			err = errors.Join(err, p.vg.Change(context.WithoutCancel(ctx), back))
		}
	}()
	for try := range maxSpareTries {
		var ranges []string
		if ranges, err = p.wipeSpare(ctx, spare, nonce); err != nil {
			return err
		}
		if try == 0 && changed {
			add, del := replaceReadyTo(to, noted, size)
			if err = p.vg.Change(ctx, vg.Tag(vg.Only(l.Name, identity, tagReady), add, del)); err != nil {
				return err
			}
		}
		if err = p.lvextend(ctx, l.Name, size, ranges); err == nil || !vg.IsExit(err) {
			return err
		}
	}
	return err
}

// ofOwnType says whether blocks that were wiped as those of a volume of this pool can become those of this one, which somebody may have
// converted. The kind of its error is InUse.
func (p *account) ofOwnType(ctx context.Context, l vg.LV) error {
	g, err := p.vg.Layout(ctx)
	if err != nil {
		return err
	}
	l, _ = g.Find(l.Name)
	for _, s := range l.Segments {
		if s.Type != "" && !p.layout.makes(s.Type, false) && !vg.IsCache(s.Type) {
			return volume.Errorf(volume.InUse, "logical volume %s/%s is of type %s, which pool %q does not make, so it can be expanded only while it is not attached", g.Name, l.Name, s.Type, p.name)
		}
	}
	return nil
}

// wipeSpare wipes blocks that are free, and returns which. The metadata that have the nonce are those that say it.
func (p *Pool) wipeSpare(ctx context.Context, spare newLV, nonce string) (ranges []string, err error) {
	identity := p.identity(spare.LV)
	if err := p.vg.Change(ctx, p.lvcreate(spare, "y")); err != nil {
		if !vg.IsExit(err) {
			return nil, err
		}
		// It may be left from a call that was cut off.
		if removeErr := p.remove(ctx, spare.Name, identity); removeErr != nil {
			return nil, removeErr
		}
		if err := p.vg.Change(ctx, p.lvcreate(spare, "y")); err != nil {
			return nil, err
		}
	}
	d, active, err := p.vg.Device(spare.Name)
	if err == nil && !active {
		err = volume.Errorf(volume.Internal, "logical volume %q was made, and its device did not appear", spare.Name)
	}
	if err == nil {
		err = p.wipe(ctx, d.Device, 0, spare.Size)
	}
	var g *vg.Layout
	if err == nil {
		g, err = p.vg.Layout(ctx)
	}
	if err == nil && !slices.ContainsFunc(g.LVs, func(l vg.LV) bool { return l.Name == spare.Name && l.Has(nonce) }) {
		err = p.vg.Unconfirmed(spare.Name) // its extents would be those of another time
	}
	// Not discarded: they have to stay zeros.
	if removeErr := p.removeKept(ctx, spare.Name, identity); err == nil {
		err = removeErr
	}
	if err != nil {
		return nil, err
	}
	wiped, parts := p.extentsOf(g, spare.Name), p.layout.parts()
	// Without ranges LVM would take any extents, which nobody has wiped.
	if got, want := vg.Extents(wiped), int64(spare.Size/p.extentSize())/parts.data*int64(parts.images); got != want {
		return nil, volume.Errorf(volume.Internal, "%d extents were wiped for logical volume %q, and %d of them are found", want, spare.Name, got)
	}
	for _, r := range wiped {
		ranges = append(ranges, r.String())
	}
	return ranges, nil
}

// extentsOf returns the extents of the disks that hold the bytes of a logical volume: its own, or those
// of its images.
func (p *account) extentsOf(g *vg.Layout, name string) (ranges []vg.Range) {
	for _, l := range g.LVs {
		if strings.HasPrefix(l.Name, name+"_rimage_") || (l.Name == name && p.layout.parts().meta == 0) {
			ranges = append(ranges, l.Ranges()...)
		}
	}
	return ranges
}
