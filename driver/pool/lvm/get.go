package lvm

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

func (p *Pool) owns(id volume.ID) bool { return id.Node == p.node && id.Pool == p.name }

func (p *Pool) missing(id volume.ID) error {
	return volume.Errorf(volume.NotFound, "%q is not in pool %q of node %q", id, p.name, p.node)
}

// identity returns the tag that says which volume or snapshot of ours it is; empty where it is not ours.
func (p *Pool) identity(l lv) string {
	for _, what := range []struct{ tag, letters string }{{tagVolume, forVolume}, {tagSnapshot, forSnapshot + forMember}, {tagSpare, forSpare}} {
		text, ok := tagged(l.tags, what.tag)
		if !ok {
			continue
		}
		id, err := volume.ParseID(text)
		if err != nil || !p.owns(id) {
			continue
		}
		for _, letter := range what.letters {
			if l.name == p.lvName(string(letter), id.Name) {
				return what.tag + text
			}
		}
	}
	return ""
}

// ours reports whether a logical volume belongs to this pool, whole or not.
func (p *Pool) ours(l lv) bool {
	return strings.HasPrefix(l.name, namePrefix+p.name+".") && p.identity(l) != ""
}

// halfMade reports whether it, or a member of its group, is half made or half removed.
func (p *Pool) halfMade(g *group, l lv) bool {
	_, isSnapshot := tagged(l.tags, tagSnapshot)
	if l.has(tagMaking) || (isSnapshot && !p.thin() && !l.isCOW()) { // lvcreate makes it a snapshot at its end
		return true
	}
	name, ok := tagged(l.tags, tagGroup)
	return ok && slices.ContainsFunc(g.lvs, func(m lv) bool {
		other, in := tagged(m.tags, tagGroup)
		return in && other == name && p.ours(m) && m.has(tagMaking)
	})
}

// mapped returns the name of the device-mapper device of a logical volume.
func (p *Pool) mapped(name string) string { return mappedName(p.config.VolumeGroup, name) }

// device returns the device of a logical volume, and whether it is active. It starts no process.
func (p *Pool) device(name string) (host.Mapped, bool, error) {
	all, err := p.machine.MappedDevices()
	d, ok := all[p.mapped(name)]
	return d, ok, err
}

// Get reads the volume from the tags of its logical volume.
func (p *Pool) Get(ctx context.Context, id volume.ID) (volume.Volume, error) {
	v, _, err := p.find(ctx, id)
	return v, err
}

// find looks for a volume that is whole.
func (p *Pool) find(ctx context.Context, id volume.ID) (volume.Volume, lv, error) {
	if !p.owns(id) {
		return volume.Volume{}, lv{}, p.missing(id)
	}
	g, err := p.stored(ctx)
	if err != nil {
		return volume.Volume{}, lv{}, err
	}
	l, ok := g.find(p.lvName(forVolume, id.Name))
	if !ok || !l.has(tagVolume+id.String()) || p.halfMade(g, l) {
		return volume.Volume{}, lv{}, p.missing(id)
	}
	v, err := p.volume(l)
	return v, l, err
}

// volume makes a volume of its logical volume, with its device.
func (p *Pool) volume(l lv) (volume.Volume, error) {
	all, err := p.machine.MappedDevices()
	if err != nil {
		return volume.Volume{}, err
	}
	return p.volumeWith(l, all, p.machine.Loops)
}

// volumeWith asks for the loop devices, which may lie above a volume's, only where it is attached.
func (p *Pool) volumeWith(l lv, all map[string]host.Mapped, loops func() ([]host.Loop, error)) (volume.Volume, error) {
	text, _ := tagged(l.tags, tagVolume)
	id, err := volume.ParseID(text)
	if err != nil {
		return volume.Volume{}, err
	}
	r, err := readRecord(l.tags)
	if err != nil {
		return volume.Volume{}, volume.Errorf(volume.Internal, "volume %q: %w", id, err)
	}
	v := volume.Volume{
		ID: id, Size: l.size, Source: r.Source, FSType: r.FSType, Parameters: r.Parameters, Claim: r.Claim,
		Ephemeral: r.Ephemeral, Created: r.Created, Mark: markOf(l),
		Unwiped: p.config.Wipe == WipeNone, BlockBytes: r.BlockBytes,
	}
	// An active one that is not wiped yet is on its way to be attached, or was when a crash came. So is one
	// that is copied from.
	if d, active := all[p.mapped(l.name)]; active && l.has(tagReady) && !l.has(tagCopying) {
		v.Device, v.ReadOnly = d.Device, d.ReadOnly
		found, err := loops()
		if err == nil {
			v.Others, err = p.machine.MountedAbove(d.Device, found)
		}
		if err != nil && !volume.Is(err, volume.NotFound) { // NotFound: it went away meanwhile
			return v, err
		}
	}
	return v, nil
}

// markOf reads the mark. None is Used: should a mark be lost, nothing is formatted.
func markOf(l lv) volume.Mark {
	switch {
	case l.has(tagBlock):
		return volume.Block
	case l.has(tagFormatting):
		return volume.Formatting
	case l.has(tagFresh):
		return volume.Fresh
	default:
		return volume.Used
	}
}

// List reads the tags of all logical volumes.
func (p *Pool) List(ctx context.Context, after string, limit int) ([]volume.Volume, error) {
	g, err := p.stored(ctx)
	if err != nil {
		return nil, err
	}
	all, err := p.machine.MappedDevices()
	if err != nil {
		return nil, err
	}
	loops := sync.OnceValues(p.machine.Loops)
	var volumes []volume.Volume
	for _, l := range p.listed(g, tagVolume, after, limit) {
		v, err := p.volumeWith(l, all, loops)
		if err != nil {
			return nil, err
		}
		volumes = append(volumes, v)
	}
	return volumes, nil
}

// listed returns a page of the volumes or snapshots that are whole, in the order of their own names,
// which is not that of the logical volumes.
func (p *Pool) listed(g *group, tag, after string, limit int) []lv {
	nameOf := func(l lv) string {
		text, _ := tagged(l.tags, tag)
		id, _ := volume.ParseID(text) // ours: it parses
		return id.Name
	}
	var found []lv
	for _, l := range g.lvs {
		if _, ok := tagged(l.tags, tag); ok && p.ours(l) && !p.halfMade(g, l) && nameOf(l) > after {
			found = append(found, l)
		}
	}
	slices.SortFunc(found, func(a, b lv) int { return strings.Compare(nameOf(a), nameOf(b)) })
	if limit > 0 && len(found) > limit {
		found = found[:limit]
	}
	return found
}

// Mark exchanges the tag that stands for the mark, if it is one that the new mark may follow.
func (p *Pool) Mark(ctx context.Context, id volume.ID, mark volume.Mark) error {
	if !p.owns(id) {
		return p.missing(id)
	}
	name, identity := p.lvName(forVolume, id.Name), tagVolume+id.String()
	var from, to []string
	switch mark {
	case volume.Formatting:
		from, to = []string{tagFresh}, []string{tagFormatting}
	case volume.Used:
		from = []string{tagFresh, tagFormatting}
	case volume.Block:
		from, to = []string{tagFresh, tagFormatting}, []string{tagBlock}
	}
	v, _, err := p.find(ctx, id)
	if err != nil {
		return err
	}
	if len(from) > 0 && v.Mark != mark {
		only := p.only(name, identity)
		marks := make([]string, len(from))
		for i, tag := range from {
			marks[i] = `lv_tags="` + tag + `"`
		}
		if mark != volume.Block { // which may follow each of the others, and Used has no tag
			only[1] += " && (" + strings.Join(marks, " || ") + ")"
		}
		out, err := p.lvm(ctx, slices.Concat([]string{"lvchange"}, addTags(to...), delTags(from...), only)...)
		if err == nil && did(out) {
			return nil
		}
		if err != nil && !isExit(err) {
			return err
		}
	}
	if v.Mark != mark {
		if v, _, err = p.find(ctx, id); err != nil {
			return err
		}
	}
	switch {
	case v.Mark == mark:
		return p.flush(p.scanned()) // it may have been set by a process that was killed before it came to that
	case v.Mark.Follows(mark):
		return volume.Errorf(volume.Internal, "volume %q is marked %q, and lvm did not make that %q", id, v.Mark, mark)
	default:
		return volume.Errorf(volume.InUse, "volume %q is marked %q, which cannot become %q", id, v.Mark, mark)
	}
}
