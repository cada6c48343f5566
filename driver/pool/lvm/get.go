package lvm

import (
	"context"
	"fmt"
	"sync"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// Get reads the volume from the tags of its logical volume.
func (p *Pool) Get(ctx context.Context, id volume.ID) (volume.Volume, error) {
	v, _, err := p.find(ctx, id)
	return v, err
}

// layoutFor reads the group to find something in it. The kind of its error is NotFound for an ID that is not of this pool.
func (p *Pool) layoutFor(ctx context.Context, id volume.ID) (*vg.Layout, error) {
	if !p.owns(id) {
		return nil, p.missing(id)
	}
	return p.vg.Layout(ctx)
}

// find looks for a volume that is whole.
func (p *Pool) find(ctx context.Context, id volume.ID) (volume.Volume, vg.LV, error) {
	g, err := p.layoutFor(ctx, id)
	if err != nil {
		return volume.Volume{}, vg.LV{}, err
	}
	if l, ok := p.anonymousOf(g, id, tagVolume); ok {
		v, err := p.volume(p.sign(l, tagVolume, id))
		return v.Damaged(p.anonymousText(l, tagVolume+id.String())), l, err
	}
	l, ok, err := p.volumeIn(g, id)
	if err != nil {
		return volume.Volume{}, vg.LV{}, err
	}
	if !ok || p.halfMade(g, l) {
		return volume.Volume{}, vg.LV{}, p.missing(id)
	}
	v, err := p.volume(l)
	return p.withBlock(g, l, v), l, err
}

// volume makes a volume of its logical volume, with its device.
func (p *Pool) volume(l vg.LV) (volume.Volume, error) {
	all, err := p.machine.MappedDevices()
	if err != nil {
		return volume.Volume{}, err
	}
	return p.volumeWith(l, all, p.machine.Loops)
}

// volumeWith asks for the loop devices, which may lie above a volume's, only where it is attached.
func (p *Pool) volumeWith(l vg.LV, all map[string]host.Mapped, loops func() ([]host.Loop, error)) (volume.Volume, error) {
	text, _ := tagged(l.Tags, tagVolume)
	id, err := volume.ParseID(text)
	if err != nil {
		return volume.Volume{}, err
	}
	v := volume.Volume{ID: id, Size: l.Size, Mark: markOf(l), Unwiped: p.config.Wipe == WipeNone}.Damaged(p.damageOf(l))
	if v.Damage == "" {
		r, err := readRecord(l.Tags)
		if err != nil {
			return volume.Volume{}, volume.Errorf(volume.Internal, "volume %q: %w", id, err)
		}
		v.Source, v.FSType, v.Parameters, v.Claim = r.Source, r.FSType, r.Parameters, r.Claim
		v.Ephemeral, v.Created, v.BlockBytes = r.Ephemeral, r.Created, r.BlockBytes
	}
	if d, active := all[p.vg.Mapped(l.Name)]; active && handedOut(l) {
		v.Device, v.ReadOnly = d.Device, d.ReadOnly
		if l.UUID != "" && d.UUID != l.UUID {
			v.Fault = fmt.Sprintf("that is no device of logical volume %s: it has the UUID %.80q, not %q", l.Name, d.UUID, l.UUID)
		}
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

// handedOut reports whether an active volume is attached. One that is not wiped yet is on its way to be, or was when a crash
// came. So is one that is copied from.
func handedOut(l vg.LV) bool { return l.Has(tagReady) && !l.Has(tagCopying) }

// markOf reads the mark. None is Used: should a mark be lost, nothing is formatted.
func markOf(l vg.LV) volume.Mark {
	switch {
	case l.Has(tagBlock):
		return volume.Block
	case l.Has(tagFormatting):
		return volume.Formatting
	case l.Has(tagFresh):
		return volume.Fresh
	default:
		return volume.Used
	}
}

// List reads the tags of all logical volumes.
func (p *Pool) List(ctx context.Context, after string, limit int) ([]volume.Volume, error) {
	g, err := p.vg.Layout(ctx)
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
		v, err := p.volumeWith(l.LV, all, loops)
		if err != nil {
			return nil, err
		}
		volumes = append(volumes, p.withBlock(g, l.LV, v.Damaged(l.damage)))
	}
	return volumes, nil
}

// Mark exchanges the tag that stands for the mark, if it is one that the new mark may follow. That a volume is being
// formatted allows to zero it, so where it is marked so already LVM has to confirm that.
func (p *Pool) Mark(ctx context.Context, id volume.ID, mark volume.Mark) error {
	v, l, err := p.find(ctx, id)
	if err == nil {
		err = v.Intact()
	}
	if err != nil {
		return err
	}
	identity := tagVolume + id.String()
	var from, to []string
	switch mark {
	case volume.Formatting:
		from, to = []string{tagFresh}, []string{tagFormatting}
	case volume.Used:
		from = []string{tagFresh, tagFormatting}
	case volume.Block:
		from, to = []string{tagFresh, tagFormatting}, []string{tagBlock}
	}
	if v.Mark == mark && mark == volume.Formatting {
		if err := p.why(ctx, p.vg.Confirm(ctx, l.Name, vg.Only(l.Name, identity, tagFormatting)), 0); err != nil {
			return err
		}
	}
	if len(from) > 0 && v.Mark != mark {
		only := vg.Only(l.Name, identity)
		if mark != volume.Block { // which may follow each of the others, and Used has no tag
			only.Any = from
		}
		failed := p.vg.Change(ctx, vg.Tag(only, to, from))
		if failed != nil && !vg.IsExit(failed) {
			return failed
		}
		if v, _, err = p.find(ctx, id); err != nil {
			return err
		}
		if failed != nil && v.Mark != mark {
			return p.why(ctx, failed, 0)
		}
	}
	switch {
	case v.Mark == mark:
		return p.vg.Flush() // it may have been set by a process that was killed before it came to that
	case v.Mark.Follows(mark):
		return volume.Errorf(volume.Internal, "volume %q is marked %q, and lvm did not make that %q", id, v.Mark, mark)
	default:
		return volume.Errorf(volume.InUse, "volume %q is marked %q, which cannot become %q", id, v.Mark, mark)
	}
}
