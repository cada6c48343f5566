package lvm

import (
	"context"
	"os"

	"github.com/loam-storage/loam/driver/volume"
)

// whole says whether all disks of the group are there, and sees to it that commands are given all of them. LVM makes and
// extends nothing where one is missing, but it removes and tags; and what it writes then says that the disk is
// missing for good, also once it is back. And it gives out extents of a disk that are not there. The kind of its error is Unavailable.
func (p *Pool) whole(ctx context.Context, takes bool) error {
	g, err := p.reads.get(ctx, p.name, p.read)
	if err != nil && ctx.Err() == nil {
		g, err = layoutIn(p.look(ctx))
	}
	if err != nil {
		return err
	}
	if g.Missing > 0 {
		return volume.Errorf(volume.Unavailable, "pool %q: volume group %q %s", p.name, g.Name, p.lacks(g))
	}
	if small := p.tooSmall(g); small != "" && takes {
		return volume.Errorf(volume.Unavailable, "pool %q: %s", p.name, small)
	}
	return nil
}

// pinned returns the disks that are the only ones to look at, none where the configuration names none. Those that are not
// there are left out: LVM says then what the group lacks.
func (p *Pool) pinned() (disks []string) {
	if p.config.Create { // it names those to begin with, and others may have come to the group since
		return nil
	}
	for _, d := range p.config.Devices {
		if _, err := os.Stat(d); err == nil {
			disks = append(disks, d)
		}
	}
	return disks
}
