package lvm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/volume"
)

// A logical volume is ours by the tag that says which volume or snapshot it is, under whatever name. One that somebody has
// renamed is listed, and counted, and nothing is done with it until it has its name again: names are what commands of LVM
// take, and what a device is found by.

// What of our IDs is in which tag, and the letters of the names that go with it.
var identities = []struct{ tag, letters string }{{tagVolume, forVolume}, {tagSnapshot, forSnapshot + forMember}, {tagSpare, forSpare}}

// identity returns the tag that says which volume or snapshot of ours it is; empty where it is not ours.
func (p *Pool) identity(l lv) string {
	tag, _ := p.identified(l)
	return tag
}

// identified returns that tag, and the names that the logical volume may have.
func (p *Pool) identified(l lv) (tag string, names []string) {
	if isPart(l.name) {
		return "", nil
	}
	for _, what := range identities {
		text, ok := tagged(l.tags, what.tag)
		if !ok {
			continue
		}
		id, err := volume.ParseID(text)
		if err != nil || !p.owns(id) {
			continue
		}
		for _, letter := range what.letters {
			names = append(names, p.lvName(string(letter), id.Name))
		}
		return what.tag + text, names
	}
	return "", nil
}

// ours reports whether a logical volume belongs to this pool, whole or not.
func (p *Pool) ours(l lv) bool { return p.identity(l) != "" }

// named says whether a logical volume of ours has the name that loam gave it. The kind of its error is InUse.
func (p *Pool) named(l lv) error {
	tag, names := p.identified(l)
	if tag == "" || slices.Contains(names, l.name) {
		return nil
	}
	name := names[0]
	if _, inGroup := tagged(l.tags, tagGroup); inGroup {
		name = names[len(names)-1]
	}
	return volume.Errorf(volume.InUse, "pool %q: logical volume %q carries the tag of %s: rename it back: lvrename %s %[2]s %[5]s", p.name, l.name, thing(tag), p.config.VolumeGroup, name)
}

// isPart reports whether a logical volume is a part of another, by its name: hidden ones are in brackets, and while LVM makes
// a RAID volume its parts are not hidden yet. LVM gives the tags of a RAID volume to the metadata of its images, too.
func isPart(name string) bool {
	return strings.HasPrefix(name, "[") || slices.ContainsFunc(reservedInNames, func(part string) bool { return strings.Contains(name, part) })
}

// thing says in words what a tag of ours names.
func thing(tag string) string {
	what, id, _ := strings.Cut(strings.TrimPrefix(tag, tagPrefix), "=")
	return what + ` "` + id + `"`
}

// owned returns the logical volume that carries the tag, and whether there is one; names are those that it may have. The
// kind of its error is InUse where it has another name, or a second one carries the tag, or where there is one of
// these names with tags of ours, of which none says whose it is.
func (p *Pool) owned(g *group, identity string, names ...string) (found lv, ok bool, err error) {
	for _, l := range g.lvs {
		switch {
		case isPart(l.name):
		case l.has(identity) && ok:
			return lv{}, false, volume.Errorf(volume.InUse, "pool %q: logical volumes %q and %q both carry the tag of %s, and nobody knows which it is: take it off the other: lvchange --deltag %s %s/NAME", p.name, found.name, l.name, thing(identity), identity, g.name)
		case l.has(identity):
			found, ok = l, true
		case slices.Contains(names, l.name) && p.anonymous(l):
			return lv{}, false, volume.Errorf(volume.InUse, "pool %q: %s", p.name, p.anonymousText(l, identity))
		}
	}
	if !ok || slices.Contains(names, found.name) {
		return found, ok, nil
	}
	return lv{}, false, p.named(found)
}

// anonymous reports whether a logical volume has tags of loam and none that says whose it is, ours or another's.
func (p *Pool) anonymous(l lv) bool {
	if !slices.ContainsFunc(l.tags, func(tag string) bool { return strings.HasPrefix(tag, tagPrefix) }) {
		return false
	}
	for _, what := range identities {
		if text, ok := tagged(l.tags, what.tag); ok {
			_, err := volume.ParseID(text)
			return err != nil
		}
	}
	return true
}

// anonymousText says what is wrong with an anonymous logical volume, and what to do where it is what the tag names.
func (p *Pool) anonymousText(l lv, identity string) string {
	return fmt.Sprintf("logical volume %q has tags of loam, and none that says whose it is; where it is %s: lvchange --addtag %s %s/%[1]s", l.name, thing(identity), identity, p.config.VolumeGroup)
}

// volumeIn finds the logical volume of a volume, whole or not, as owned does.
func (p *Pool) volumeIn(g *group, id volume.ID) (lv, bool, error) {
	return p.owned(g, tagVolume+id.String(), p.lvName(forVolume, id.Name))
}

// snapshotIn finds the logical volume of a snapshot, alone or in a group, whole or not, as owned does.
func (p *Pool) snapshotIn(g *group, id volume.ID) (lv, bool, error) {
	return p.owned(g, tagSnapshot+id.String(), p.lvName(forSnapshot, id.Name), p.lvName(forMember, id.Name))
}
