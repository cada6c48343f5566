package vg

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/loam-storage/loam/driver/volume"
)

// whole says whether all disks of the group are there, and sees to it that commands are given all of them. LVM makes and
// extends nothing where one is missing, but it removes and tags; and what it writes then says that the disk is
// missing for good, also once it is back. And it gives out extents of a disk that are not there. The kind of its error is Unavailable.
func (v *Group) whole(ctx context.Context, takes bool) error {
	g, err := v.now(ctx, false)
	if err != nil {
		return err
	}
	if g.Missing > 0 {
		return volume.Errorf(volume.Unavailable, "pool %q: volume group %q %s", v.of.Pool, g.Name, v.Lacks(g))
	}
	if small := v.TooSmall(g); small != "" && takes {
		return volume.Errorf(volume.Unavailable, "pool %q: %s", v.of.Pool, small)
	}
	return nil
}

// pinned returns the disks that are the only ones to look at, none where the configuration names none. Those that are not
// there are left out: LVM says then what the group lacks.
func (v *Group) pinned() (disks []string) {
	if v.of.Create { // it names those to begin with, and others may have come to the group since
		return nil
	}
	for _, d := range v.of.Devices {
		if _, err := os.Stat(d); err == nil {
			disks = append(disks, d)
		}
	}
	return disks
}

// TooSmall says which disk of a group is smaller than what LVM has of it, empty where none is. LVM warns of that and goes on: it gives out
// extents that are not there, and cannot activate what lies on them.
func (v *Group) TooSmall(g *Layout) string {
	for _, d := range g.Disks {
		if d.Missing || d.End == 0 {
			continue
		}
		if now, err := v.of.Machine.Device(d.Path); err == nil && now.SizeBytes < d.End {
			return fmt.Sprintf("volume group %q has disk %s, which has %s (%d bytes), and its physical volume ends at %s (%d bytes): give the disk the size again that it had. What lies behind its end cannot be used; nothing is made or expanded meanwhile", g.Name, d.Path, now.SizeBytes, int64(now.SizeBytes), d.End, int64(d.End))
		}
	}
	return ""
}

// Moving is the error for what has to wait until a logical volume has been moved.
func (v *Group) Moving(g *Layout, name string) error {
	return volume.Errorf(volume.Busy, "pool %q: logical volume %s/%s is being moved to another disk (%s), and this has to wait for that: lvs --all --options lv_name,copy_percent,move_pv %[2]s says how far it is; pvmove without arguments goes on with one that was cut off, and pvmove --abort ends it", v.of.Pool, g.Name, name, cmp.Or(g.Move(), "pvmove"))
}

// Confirm has LVM itself say that the logical volume that a selection names is there as the selection says. What is read
// from the metadata areas is for finding and listing: before something is destroyed that a tag allows to, LVM has to see
// that tag as well. It takes a process. The kind of its error is Unavailable where LVM sees something else.
func (v *Group) Confirm(ctx context.Context, name string, only Select) error {
	out, err := v.output(ctx, Command{Name: "lvs", Flags: []string{"--reportformat", "json", "-o", "lv_name"}, Select: &only})
	if err != nil {
		return err
	}
	sections, err := readSections(out)
	if err != nil {
		return volume.Errorf(volume.Internal, "pool %q: %w", v.of.Pool, err)
	}
	for _, r := range sections {
		if slices.ContainsFunc(r.LV, func(row map[string]string) bool { return row["lv_name"] == name }) {
			return nil
		}
	}
	return v.Unconfirmed(name)
}

// Unconfirmed is the error where LVM does not see what was read.
func (v *Group) Unconfirmed(name string) error {
	return volume.Errorf(volume.Unavailable, "pool %q: LVM does not see logical volume %q as its metadata were read from the disks, so nothing was done with it: ask again; where that stays so, see what lvs -o +lv_tags and pvck --dump metadata say", v.of.Pool, name)
}
