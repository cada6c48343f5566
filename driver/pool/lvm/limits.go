package lvm

import (
	"fmt"

	"github.com/loam-storage/loam/driver/volume"
)

// What a volume group is held back by beside its free extents: how much its metadata may say, how many logical volumes it may
// have, how large its disks really are, and how extents are chosen.

// textOfOne is what the metadata of a group may need for one volume more: most take 1 to 2 KiB, one with the longest tags more.
const textOfOne = 16 * volume.KiB

func textsFull(g *Report) string {
	return fmt.Sprintf("volume group %q has %s left for its metadata, which describe each volume: delete some, or add a disk with a larger area (pvcreate --metadatasize) and have the small ones ignored (pvchange --metadataignore y)", g.Name, g.TextFree)
}

// countFull reports whether a group has as many logical volumes as it may.
func (g *Report) countFull() bool { return g.MaxLVs > 0 && g.CountLVs >= g.MaxLVs }

func countFullText(g *Report) string {
	return fmt.Sprintf("volume group %q has %d logical volumes, and may have %d: vgchange --logicalvolume 0 %[1]s lets it have any number", g.Name, g.CountLVs, g.MaxLVs)
}

// tooSmall says which disk of a group is smaller than what LVM has of it, empty where none is. LVM warns of that and goes on: it gives out
// extents that are not there, and cannot activate what lies on them.
func (p *Pool) tooSmall(g *Layout) string {
	for _, d := range g.Disks {
		if d.Missing || d.End == 0 {
			continue
		}
		if now, err := p.machine.Device(d.Path); err == nil && now.SizeBytes < d.End {
			return fmt.Sprintf("volume group %q has disk %s, which has %s (%d bytes), and its physical volume ends at %s (%d bytes): give the disk the size again that it had. What lies behind its end cannot be used; nothing is made or expanded meanwhile", g.Name, d.Path, now.SizeBytes, int64(now.SizeBytes), d.End, int64(d.End))
		}
	}
	return ""
}

// heldBack says why nothing can be made in a group, whatever is free; empty where that is not so.
func (p *Pool) heldBack(g *Report) string {
	if small := p.tooSmall(&g.Layout); small != "" {
		return small
	}
	if g.countFull() {
		return countFullText(g)
	}
	return ""
}

// moves says what pvmove is at work on, empty where it is not.
func moves(g *Layout) string {
	move := g.Move()
	if move == "" {
		return ""
	}
	return fmt.Sprintf("logical volumes are being moved to other disks (%s): what is moved is not deleted, expanded or snapshotted until that has ended", move)
}
