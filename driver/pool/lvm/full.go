package lvm

import (
	"fmt"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

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
