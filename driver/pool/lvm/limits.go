package lvm

import (
	"fmt"
	"strings"

	"github.com/loam-storage/loam/driver/volume"
)

// What a volume group is held back by beside its free extents: how much its metadata may say, how many logical volumes it may
// have, how large its disks really are, and how extents are chosen.

// textOfOne is what the metadata of a group may need for one volume more: most take 1 to 2 KiB, one with the longest tags more.
const textOfOne = 16 * volume.KiB

func textsFull(g *group) string {
	return fmt.Sprintf("volume group %q has %s left for its metadata, which describe each volume: delete some, or add a disk with a larger area (pvcreate --metadatasize) and have the small ones ignored (pvchange --metadataignore y)", g.name, g.textFree)
}

// countFull reports whether a group has as many logical volumes as it may. Only a report says how many those are.
func (g *group) countFull() bool { return g.maxLVs > 0 && g.countLVs >= g.maxLVs }

func countFullText(g *group) string {
	return fmt.Sprintf("volume group %q has %d logical volumes, and may have %d: vgchange --logicalvolume 0 %[1]s lets it have any number", g.name, g.countLVs, g.maxLVs)
}

// tooSmall says which disk of a group is smaller than what LVM has of it, empty where none is. LVM warns of that and goes on: it gives out
// extents that are not there, and cannot activate what lies on them.
func (p *Pool) tooSmall(g *group) string {
	for _, d := range g.disks {
		if d.missing || d.end == 0 {
			continue
		}
		if now, err := p.machine.Device(d.name); err == nil && now.SizeBytes < d.end {
			return fmt.Sprintf("volume group %q has disk %s, which has %s (%d bytes), and its physical volume ends at %s (%d bytes): give the disk the size again that it had. What lies behind its end cannot be used; nothing is made or expanded meanwhile", g.name, d.name, now.SizeBytes, int64(now.SizeBytes), d.end, int64(d.end))
		}
	}
	return ""
}

// heldBack says why nothing can be made in a group, whatever is free; empty where that is not so.
func (p *Pool) heldBack(g *group) string {
	if small := p.tooSmall(g); small != "" {
		return small
	}
	if g.countFull() {
		return countFullText(g)
	}
	return ""
}

// allocationOf returns the policy by which a group gives out extents, where it is one that may not find what is free: a letter in
// vg_attr (vgs(8)).
func allocationOf(g *group) string {
	return map[string]string{"c": "contiguous", "l": "cling"}[vgFlag(g, 4)]
}

// moves says what pvmove is at work on, empty where it is not.
func moves(g *group) string {
	for _, l := range g.lvs {
		if l.is(attrType, 'p') {
			return fmt.Sprintf("logical volumes are being moved to other disks (%s): what is moved is not deleted, expanded or snapshotted until that has ended", strings.Trim(l.name, "[]"))
		}
	}
	return ""
}
