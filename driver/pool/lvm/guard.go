package lvm

import (
	"context"
	"os"
	"slices"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// changes reports whether a command writes the metadata of the group.
func changes(args []string) bool {
	switch args[0] {
	case "lvcreate", "lvextend", "lvremove", "vgchange":
		return true
	case "lvchange":
		return !slices.Contains(args, "--activate")
	}
	return false
}

// whole says whether all disks of the group are there, and sees to it that commands are given all of them. LVM makes and
// extends nothing where one is missing, but it removes and tags; and what it writes then says that the disk is
// missing for good, also once it is back. The kind of its error is Unavailable.
func (p *Pool) whole(ctx context.Context) error {
	_, err := p.reads.get(ctx, p.name, p.read)
	if err == nil || ctx.Err() != nil {
		return err
	}
	g, err := p.look(ctx)
	if err != nil {
		return err
	}
	if g.missing > 0 {
		return volume.Errorf(volume.Unavailable, "pool %q: volume group %q %s", p.name, g.name, lacksDisk)
	}
	return nil
}

const lacksDisk = "lacks a disk, and nothing is changed meanwhile: bring it back, or replace it (docs/lvm.md)"

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

// wake activates a thin pool that has volumes and is not active, for only then it is known how full it is.
func (p *Pool) wake(ctx context.Context) error {
	if !p.thin() || p.lock == nil {
		return nil
	}
	if _, active, err := p.thinUsage(); err != nil || active {
		return nil // what is to be done says better what is wrong
	}
	g, err := p.stored(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(g.lvs, func(l lv) bool { return l.pool == p.config.ThinPool }) {
		return nil
	}
	if _, err := p.lvm(ctx, "lvchange", "--activate", "y", p.config.VolumeGroup+"/"+p.config.ThinPool); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("activated a thin pool, to see how full it is", "pool", p.name, "thinPool", p.config.ThinPool)
	return nil
}
