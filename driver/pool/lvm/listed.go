package lvm

import (
	"cmp"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// listed is a logical volume of a list.
type listed struct {
	vg.LV
	name   string // of the volume or snapshot
	damage string // that nothing but its name says whose it is; empty: a tag does
}

// listed returns a page of the volumes or snapshots that are whole, in the order of their own names,
// which is not that of the logical volumes. One that somebody has renamed is in it, and of two with one ID that with its
// own name. One whose tag is lost or cannot be read is in it as well, if its name says which it is.
func (o owner) listed(g *vg.Layout, tag, after string, limit int) []listed {
	var found []listed
	for _, l := range g.LVs {
		one := listed{LV: l}
		if text, ok := tagged(l.Tags, tag); ok && o.ours(l) {
			id, _ := volume.ParseID(text) // ours: it parses
			one.name = id.Name
		} else if id, ok := o.byName(l, tag); ok {
			one.LV, one.name, one.damage = o.sign(l, tag, id), id.Name, o.anonymousText(l, tag+id.String())
		}
		if one.name > after && !o.halfMade(g, one.LV) {
			found = append(found, one)
		}
	}
	misnamed := func(l listed) int {
		if o.named(l.LV) != nil {
			return 1
		}
		return 0
	}
	slices.SortFunc(found, func(a, b listed) int { return cmp.Or(strings.Compare(a.name, b.name), misnamed(a)-misnamed(b)) })
	found = slices.CompactFunc(found, func(a, b listed) bool { return a.name == b.name })
	if limit > 0 && len(found) > limit {
		found = found[:limit]
	}
	return found
}

// memberPattern matches the beginning of the names of members of this pool's groups.
func (o owner) memberPattern() string { return `loam[.]` + o.name + `[.]` + forMember + `[.+]` }

// membersNamed says whether all that is there of a group has the names that loam gave it, and the tags that say whose it is. The
// kind of its error is InUse.
func (o owner) membersNamed(g *vg.Layout, name string) error {
	for _, l := range g.LVs {
		if id, ok := o.byName(l, tagSnapshot); ok && l.Has(tagGroup+name) {
			return volume.Errorf(volume.InUse, "pool %q: %s", o.name, o.anonymousText(l, tagSnapshot+id.String()))
		}
		if !l.Has(tagGroup+name) || !o.ours(l) {
			continue
		}
		tag, names := o.identified(l)
		if _, _, err := o.owned(g, tag, names...); err != nil {
			return err
		}
	}
	return nil
}
