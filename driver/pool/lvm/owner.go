package lvm

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// A logical volume is ours by the tag that says which volume or snapshot it is, under whatever name. One that somebody has
// renamed is listed, and counted, and nothing is done with it until it has its name again: names are what commands of LVM
// take, and what a device is found by.

// What of our IDs is in which tag, and the letters of the names that go with it.
var identities = []struct{ tag, letters string }{{tagVolume, forVolume}, {tagSnapshot, forSnapshot + forMember}, {tagSpare, forSpare}}

// owner knows which logical volumes are those of one pool.
type owner struct {
	name, node string // of the pool
	group      string // name of the volume group
}

func (o owner) owns(id volume.ID) bool { return id.Node == o.node && id.Pool == o.name }

func (o owner) missing(id volume.ID) error {
	return volume.Errorf(volume.NotFound, "%q is not in pool %q of node %q", id, o.name, o.node)
}

// halfMade reports whether it, or a member of its group, is half made or half removed.
func (o owner) halfMade(g *vg.Layout, l vg.LV) bool {
	_, isSnapshot := tagged(l.Tags, tagSnapshot)
	if l.Has(tagMaking) || (isSnapshot && l.Type == vg.TypePlain) { // lvcreate makes it a snapshot at its end
		return true
	}
	name, ok := tagged(l.Tags, tagGroup)
	return ok && slices.ContainsFunc(g.LVs, func(m vg.LV) bool {
		other, in := tagged(m.Tags, tagGroup)
		return in && other == name && o.ours(m) && m.Has(tagMaking)
	})
}

// identity returns the tag that says which volume or snapshot of ours it is; empty where it is not ours.
func (o owner) identity(l vg.LV) string {
	tag, _ := o.identified(l)
	return tag
}

// identified returns that tag, and the names that the logical volume may have.
func (o owner) identified(l vg.LV) (tag string, names []string) {
	if l.IsPart() {
		return "", nil
	}
	for _, what := range identities {
		text, ok := tagged(l.Tags, what.tag)
		if !ok {
			continue
		}
		id, err := volume.ParseID(text)
		if err != nil || !o.owns(id) {
			continue
		}
		for _, letter := range what.letters {
			names = append(names, o.lvName(string(letter), id.Name))
		}
		return what.tag + text, names
	}
	return "", nil
}

// ours reports whether a logical volume belongs to this pool, whole or not.
func (o owner) ours(l vg.LV) bool { return o.identity(l) != "" }

// named says whether a logical volume of ours has the name that loam gave it. The kind of its error is InUse.
func (o owner) named(l vg.LV) error {
	tag, names := o.identified(l)
	if tag == "" || slices.Contains(names, l.Name) {
		return nil
	}
	name := names[0]
	if _, inGroup := tagged(l.Tags, tagGroup); inGroup {
		name = names[len(names)-1]
	}
	return volume.Errorf(volume.InUse, "pool %q: logical volume %q carries the tag of %s: rename it back: lvrename %s %[2]s %[5]s", o.name, l.Name, thing(tag), o.group, name)
}

// thing says in words what a tag of ours names.
func thing(tag string) string {
	what, id, _ := strings.Cut(strings.TrimPrefix(tag, tagPrefix), "=")
	return what + ` "` + id + `"`
}

// owned returns the logical volume that carries the tag, and whether there is one; names are those that it may have. The
// kind of its error is InUse where it has another name, or a second one carries the tag, or where there is one of
// these names with tags of ours, of which none says whose it is.
func (o owner) owned(g *vg.Layout, identity string, names ...string) (found vg.LV, ok bool, err error) {
	for _, l := range g.LVs {
		switch {
		case l.IsPart():
		case l.Has(identity) && ok:
			return vg.LV{}, false, volume.Errorf(volume.InUse, "pool %q: logical volumes %q and %q both carry the tag of %s, and nobody knows which it is: take it off the other: lvchange --deltag %s %s/NAME", o.name, found.Name, l.Name, thing(identity), identity, g.Name)
		case l.Has(identity):
			found, ok = l, true
		case slices.Contains(names, l.Name) && o.anonymous(l):
			return vg.LV{}, false, volume.Errorf(volume.InUse, "pool %q: %s", o.name, o.anonymousText(l, identity))
		}
	}
	if !ok || slices.Contains(names, found.Name) {
		return found, ok, nil
	}
	return vg.LV{}, false, o.named(found)
}

// anonymous reports whether a logical volume has tags of loam and none that says whose it is, ours or another's.
func (o owner) anonymous(l vg.LV) bool {
	if !slices.ContainsFunc(l.Tags, func(tag string) bool { return strings.HasPrefix(tag, tagPrefix) }) {
		return false
	}
	for _, what := range identities {
		if text, ok := tagged(l.Tags, what.tag); ok {
			_, err := volume.ParseID(text)
			return err != nil
		}
	}
	return true
}

// anonymousText says what is wrong with an anonymous logical volume, and what to do where it is what the tag names.
func (o owner) anonymousText(l vg.LV, identity string) string {
	return fmt.Sprintf("logical volume %q has tags of loam, and none that says whose it is; where it is %s: lvchange --addtag %s %s/%[1]s", l.Name, thing(identity), identity, o.group)
}

// volumeIn finds the logical volume of a volume, whole or not, as owned does.
func (o owner) volumeIn(g *vg.Layout, id volume.ID) (vg.LV, bool, error) {
	return o.owned(g, tagVolume+id.String(), o.lvName(forVolume, id.Name))
}

// snapshotIn finds the logical volume of a snapshot, alone or in a group, whole or not, as owned does.
func (o owner) snapshotIn(g *vg.Layout, id volume.ID) (vg.LV, bool, error) {
	return o.owned(g, tagSnapshot+id.String(), o.lvName(forSnapshot, id.Name), o.lvName(forMember, id.Name))
}

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

// namePrefix begins the name of every logical volume that is ours.
const namePrefix = pool.LVPrefix

// What a logical volume of ours is for, as the letter in its name.
const (
	forVolume   = pool.LVOfVolume
	forSnapshot = "s"
	forMember   = "g" // a snapshot that belongs to a group
	forSpare    = "w" // blocks being wiped for a volume that is attached
)

// maxMappedBytes is the longest name that device-mapper gives a device (DM_NAME_LEN without the end),
// and suffixBytes what LVM may put behind the name of a logical volume for a part of it.
const (
	maxMappedBytes = 127
	suffixBytes    = len("_rimage_63_imeta")
)

// lvName returns the name of the logical volume of ours. A name that LVM would refuse is hashed; the
// true one is in a tag. With our prefix no name begins with one of those that may not be at the beginning. "+" is in no name of a volume, so the two never meet.
func (o owner) lvName(what, name string) string {
	full := pool.LVName(o.name, what, name)
	if !vg.IsReserved(name) && len(vg.MappedName(o.group, full))+suffixBytes <= maxMappedBytes {
		return full
	}
	return pool.HashedLVName(o.name, what, name)
}

// checkLength says whether every name that the pool may need fits device-mapper. The kind of its error
// is Invalid.
func checkLength(group, name string) error {
	if n := len(vg.MappedName(group, pool.HashedLVName(name, forVolume, ""))) + suffixBytes; n > maxMappedBytes {
		return volume.Errorf(volume.Invalid, "the names of volume group %q and pool %q are together %d bytes too long for device-mapper: use a shorter one", group, name, n-maxMappedBytes)
	}
	return nil
}
