package lvm

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// damageOf says what of the tags of a volume or snapshot of ours is lost or damaged, and what to do; empty for nothing. A lost mark
// is none: then the volume counts as used, and is never formatted.
func (o owner) damageOf(l vg.LV) string {
	r, err := readRecord(l.Tags)
	_, isSnapshot := tagged(l.Tags, tagSnapshot)
	if err == nil && isSnapshot && r.Volume == nil {
		err = volume.Errorf(volume.Internal, "its record does not say what it was taken of")
	}
	if err != nil {
		return fmt.Sprintf("%v: put the tags %s* of logical volume %s/%s back, as an earlier vgcfgbackup has them, or write a record (docs/on-disk.md); if it is to go, with its data: lvremove %[3]s/%[4]s",
			err, tagRecord, o.group, l.Name)
	}
	if _, inGroup := tagged(l.Tags, tagGroup); isSnapshot && !inGroup && slices.Contains(o.namesOf(l, forMember), l.Name) {
		return fmt.Sprintf("logical volume %s/%s is a member of a group, and no tag %s… says of which: put it back", o.group, l.Name, tagGroup)
	}
	if !isSnapshot && !l.Has(tagReady) {
		if _, err := wipedOf(l); err != nil {
			return fmt.Sprintf("%v, and it has no tag %s either: put back the one that is lost; where every block of it holds its data: lvchange --addtag %[2]s %s/%s", err, tagReady, o.group, l.Name)
		}
	}
	if _, _, err := readyTo(l); err != nil {
		return fmt.Sprintf("%v: put back what it said (docs/on-disk.md)", err)
	}
	return ""
}

// namesOf returns the name that a logical volume of ours would have for a letter.
func (o owner) namesOf(l vg.LV, letters string) (names []string) {
	for _, what := range identities {
		text, _ := tagged(l.Tags, what.tag)
		if id, err := volume.ParseID(text); err == nil {
			for _, letter := range letters {
				names = append(names, o.lvName(string(letter), id.Name))
			}
		}
	}
	return names
}

// byName returns what an anonymous logical volume is, going by its name, if that says that it is what the tag is for. A name
// that was hashed says nothing.
func (o owner) byName(l vg.LV, tag string) (volume.ID, bool) {
	if l.IsPart() || !o.anonymous(l) {
		return volume.ID{}, false
	}
	for _, what := range identities {
		for _, letter := range what.letters {
			name, ok := strings.CutPrefix(l.Name, namePrefix+o.name+"."+string(letter)+".")
			id := volume.ID{Node: o.node, Pool: o.name, Name: name}
			if parsed, err := volume.ParseID(id.String()); ok && what.tag == tag && err == nil && parsed == id {
				return id, true
			}
		}
	}
	return volume.ID{}, false
}

// anonymousOf returns the anonymous logical volume whose name is one of the ID's, if nothing else carries the ID's tag.
func (o owner) anonymousOf(g *vg.Layout, id volume.ID, tag string) (found vg.LV, ok bool) {
	for _, l := range g.LVs {
		if l.IsPart() {
			continue // LVM gives those of a RAID volume the tags that this had when it was made
		}
		if l.Has(tag + id.String()) {
			return vg.LV{}, false
		}
		if named, is := o.byName(l, tag); is && named == id && !ok && !l.Has(tagMaking) {
			found, ok = l, true
		}
	}
	return found, ok
}

// sign returns the logical volume as if it carried the ID's tag.
func (o owner) sign(l vg.LV, tag string, id volume.ID) vg.LV {
	l.Tags = append(slices.DeleteFunc(slices.Clone(l.Tags), func(t string) bool { return strings.HasPrefix(t, tag) }), tag+id.String())
	return l
}

// intact says whether a logical volume of ours that is whole is not damaged. The kind of its error is InUse.
func (o owner) intact(g *vg.Layout, l vg.LV) error {
	tag := o.identity(l)
	if tag == "" || o.halfMade(g, l) {
		return nil
	}
	if damage := o.damageOf(l); damage != "" {
		return volume.Errorf(volume.InUse, "%s is damaged, and nothing is done with it: %s", thing(tag), damage)
	}
	return nil
}

// damageIn says in words what in the group is damaged; empty for nothing.
func (o owner) damageIn(g *vg.Layout) string {
	var says []string
	for _, tag := range []string{tagVolume, tagSnapshot} {
		for _, l := range o.listed(g, tag, "", 0) {
			damage := l.damage
			if damage == "" {
				damage = o.damageOf(l.LV)
			}
			if damage != "" {
				text, _ := tagged(l.Tags, tag)
				says = append(says, fmt.Sprintf("%s is damaged: %s", thing(tag+text), damage))
			}
		}
	}
	if len(says) == 0 {
		return ""
	}
	slices.Sort(says)
	if len(says) > 1 {
		return fmt.Sprintf("%d volumes or snapshots are damaged: %s", len(says), says[0])
	}
	return says[0]
}

// logDamage says in the log what is damaged, where that is something else than before.
func (p *Pool) logDamage(says string) {
	if was := p.damage.Swap(&says); says != "" && (was == nil || *was != says) {
		klog.Background().Error(nil, "a pool has damaged volumes or snapshots", "pool", p.name, "damage", says)
	}
}
