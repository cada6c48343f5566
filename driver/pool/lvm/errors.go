package lvm

import (
	"context"
	"errors"
	"fmt"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// explain makes an error with a Kind of a command that failed, given the group as it is since then (nil
// where it could not be read) and the extents that the command wanted for each image or, in a thin pool,
// the bytes. LVM ends with 5 for nearly everything, so what the report shows decides; its words are only
// passed on.
func (p *account) explain(err error, r *vg.Report, cost int64) error {
	if !vg.IsExit(err) {
		return err // not started, or killed: it has a Kind
	}
	where := func(kind volume.Kind, says string) error {
		return volume.Errorf(kind, "pool %q: volume group %q %s (%w)", p.name, p.config.VolumeGroup, says, err)
	}
	switch {
	case r == nil:
		return where(volume.Unavailable, "cannot be read: see that it is there, with all its disks, and not renamed")
	case r.Exported:
		return where(volume.Unavailable, "is exported: vgimport it")
	case r.ReadOnly:
		return where(volume.Unavailable, "is read-only in its metadata (vg_attr in vgs(8)): vgcfgbackup it, and vgcfgrestore it with WRITE in its status")
	case r.Missing > 0:
		return where(volume.Unavailable, p.vg.Lacks(&r.Layout))
	}
	g := &r.Layout
	if small := p.vg.TooSmall(g); small != "" {
		return volume.Errorf(volume.Unavailable, "pool %q: %s (%w)", p.name, small, err)
	}
	of := vg.Refused(err)
	if altered := p.alteration(g, of); altered != nil {
		return volume.Errorf(volume.KindOf(altered), "%w (%w)", altered, err)
	}
	if cost > 0 && r.CountFull() {
		return volume.Errorf(volume.Full, "pool %q: %s (%w)", p.name, countFullText(r), err)
	}
	if cost > 0 && r.Allocation != "" {
		return where(volume.Full, "has the allocation policy "+r.Allocation+", and its free extents may lie in pieces that are too small for that: vgchange --alloc normal "+g.Name)
	}
	if r.Texts > 0 && r.TextFree < textOfOne {
		return volume.Errorf(volume.Full, "pool %q: %s (%w)", p.name, textsFull(r), err)
	}
	if has, err := p.reportedCapacity(r); err != nil {
		return err
	} else if cost > 0 && cost > has.largest {
		return p.full(g, has, cost)
	}
	if of != "" {
		return volume.Errorf(volume.Internal, "pool %q: logical volume %s/%s: %w", p.name, g.Name, of, err)
	}
	return volume.Errorf(volume.Internal, "pool %q: %w", p.name, err)
}

// why is explain with the group as it is now; nil where nothing failed.
func (p *account) why(ctx context.Context, err error, cost int64) error {
	if !vg.IsExit(err) {
		return err
	}
	r, lookErr := p.vg.Report(ctx)
	if lookErr != nil {
		return unread(err, lookErr)
	}
	return p.explain(err, r, cost)
}

// unread is the error of a command that failed where the group cannot be read since then, which is why.
func unread(failed, lookErr error) error {
	if !vg.IsExit(failed) {
		return errors.Join(failed, lookErr)
	}
	return volume.Errorf(volume.KindOf(lookErr), "%w (%w)", lookErr, failed)
}

// full is the error of a pool that has not as much as is asked. It says how much there is, and what has the rest.
func (p *account) full(g *vg.Layout, r capacity, cost int64) error {
	if r.broken {
		return volume.Errorf(volume.Unavailable, "pool %q: %s", p.name, r.trouble)
	}
	extent := p.extentSize()
	text := fmt.Sprintf("pool %q is full: %s; %s at most can be made, %s asked", p.name, p.layout.takenBy(g, r), p.layout.bytes(r.largest, extent), p.layout.bytes(cost, extent))
	if r.trouble != "" {
		text += "; " + r.trouble
	}
	return volume.Errorf(volume.Full, "%s", text)
}

// reserveTrouble says that a reserve leaves nothing of what the pool has; empty where it does.
func reserveTrouble(back, of volume.Size) string {
	if back == 0 || back < of {
		return ""
	}
	return fmt.Sprintf("the reserve of %s is all of the %s that the pool has: make the reserve smaller, or the pool larger", back, of)
}

// What a volume group is held back by beside its free extents: how much its metadata may say, how many logical volumes it may
// have, how large its disks really are, and how extents are chosen.

// textOfOne is what the metadata of a group may need for one volume more: most take 1 to 2 KiB, one with the longest tags more.
const textOfOne = 16 * volume.KiB

func textsFull(g *vg.Report) string {
	return fmt.Sprintf("volume group %q has %s left for its metadata, which describe each volume: delete some, or add a disk with a larger area (pvcreate --metadatasize) and have the small ones ignored (pvchange --metadataignore y)", g.Name, g.TextFree)
}

func countFullText(g *vg.Report) string {
	return fmt.Sprintf("volume group %q has %d logical volumes, and may have %d: vgchange --logicalvolume 0 %[1]s lets it have any number", g.Name, g.CountLVs, g.MaxLVs)
}

// heldBack says why nothing can be made in a group, whatever is free; empty where that is not so.
func (p *account) heldBack(g *vg.Report) string {
	if small := p.vg.TooSmall(&g.Layout); small != "" {
		return small
	}
	if g.CountFull() {
		return countFullText(g)
	}
	return ""
}

// moves says what pvmove is at work on, empty where it is not.
func moves(g *vg.Layout) string {
	move := g.Move()
	if move == "" {
		return ""
	}
	return fmt.Sprintf("logical volumes are being moved to other disks (%s): what is moved is not deleted, expanded or snapshotted until that has ended", move)
}
