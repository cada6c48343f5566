package lvm

import (
	"context"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

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
