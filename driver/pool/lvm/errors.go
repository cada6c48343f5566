package lvm

import (
	"context"
	"fmt"
	"strings"

	"github.com/loam-storage/loam/driver/volume"
)

// explain makes an error with a Kind of a command that failed, given the group as it is since then (nil
// where it could not be read) and the extents that the command wanted for each image or, in a thin pool,
// the bytes. LVM ends with 5 for nearly everything, so what the report shows decides; its words are only
// passed on.
func (p *Pool) explain(err error, g *group, cost int64) error {
	if !isExit(err) {
		return err // not started, or killed: it has a Kind
	}
	where := func(kind volume.Kind, says string) error {
		return volume.Errorf(kind, "pool %q: volume group %q %s (%w)", p.name, p.config.VolumeGroup, says, err)
	}
	switch {
	case g == nil:
		return where(volume.Unavailable, "cannot be read: see that it is there, with all its disks, and not renamed")
	case strings.Contains(vgFlag(g, 2), "x"):
		return where(volume.Unavailable, "is exported: vgimport it")
	case strings.Contains(vgFlag(g, 0), "r"):
		return where(volume.Unavailable, "is read-only in its metadata (vg_attr in vgs(8)): vgcfgbackup it, and vgcfgrestore it with WRITE in its status")
	case g.missing > 0:
		return where(volume.Unavailable, lacksDisk)
	}
	if g.texts > 0 && g.textFree < textOfOne {
		return volume.Errorf(volume.Full, "pool %q: %s (%w)", p.name, textsFull(g), err)
	}
	if room, roomErr := p.room(g); roomErr != nil {
		return roomErr
	} else if cost > 0 && cost > room.largest {
		return p.full(room, cost)
	}
	return volume.Errorf(volume.Internal, "pool %q: %w", p.name, err)
}

// textOfOne is what the metadata of a group may need for one volume more: most take 1 to 2 KiB, one with the longest tags more.
const textOfOne = 16 * volume.KiB

func textsFull(g *group) string {
	return fmt.Sprintf("volume group %q has %s left for its metadata, which describe each volume: delete some, or add a disk with a larger area (pvcreate --metadatasize) and have the small ones ignored (pvchange --metadataignore y)", g.name, g.textFree)
}

// why is explain with the group as it is now.
func (p *Pool) why(ctx context.Context, err error, cost int64) error {
	if !isExit(err) {
		return err
	}
	g, _ := p.look(ctx) // without it, the error says that it cannot be read
	return p.explain(err, g, cost)
}

func vgFlag(g *group, place int) string {
	if place >= len(g.attr) {
		return ""
	}
	return g.attr[place : place+1]
}
