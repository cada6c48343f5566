package vg

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// found is a disk that has the name of the group in its metadata.
type found struct {
	path, group, disk string // group and disk: their UUIDs
}

// findGroup looks for the disks of the group on all devices that it may be on. Names and UUIDs can be written by whoever can write to a
// device, so more than one group of the name, or more than one device with a UUID, is an error that names them. The
// kind of its error is Unavailable where the group is not there, or while it is not clear which it is.
func (v *Group) findGroup(ctx context.Context) ([]string, error) {
	c, err := v.candidates(ctx)
	if err != nil {
		return nil, err
	}
	wrong := func(kind volume.Kind, format string, args ...any) error {
		return volume.Errorf(kind, "pool %q: volume group %q %s", v.of.Pool, v.of.Name, fmt.Sprintf(format, args...))
	}
	unseen := func(format string, args ...any) ([]string, error) {
		if where := v.whereabouts(ctx, c); where != "" {
			return nil, wrong(volume.Unavailable, "%s", where)
		}
		return nil, wrong(volume.Unavailable, format, args...)
	}
	if len(c.paths) == 0 {
		return unseen("cannot be looked for: there is no device that it could be on%s", c.leftOut())
	}
	out, err := v.run(ctx, "", c.paths, pvsArgs(v.of.Name))
	if err != nil {
		return nil, v.unreadable(err)
	}
	all, err := parsePVs(out)
	if err != nil {
		return nil, volume.Errorf(volume.Internal, "pool %q: %w", v.of.Pool, err)
	}
	known := v.groupID()
	groups := map[string][]found{}
	for _, f := range all {
		if strings.HasPrefix(f.path, "/") { // else it is missing
			groups[f.group] = append(groups[f.group], f)
		}
	}
	if len(groups) == 0 {
		return unseen("cannot be read: it is on none of the %d devices looked at; see that it is there, with all its disks, and not renamed%s", len(c.paths), c.leftOut())
	}
	id := slices.Collect(maps.Keys(groups))[0]
	switch {
	case known != "" && len(groups[known]) == 0:
		return nil, wrong(volume.Unavailable, "has the UUID %s now, and had %s when the pool was opened: if it is meant to be another, start loam again", id, known)
	case known != "":
		id = known
	case len(groups) > 1:
		return nil, wrong(v.unclear(), "is there %d times: %s; who can write to one of these devices may have made it look so. Name the disks that are meant (devices in the configuration), or vgrename the other by its UUID", len(groups), namesOf(groups))
	}
	disks, twice := v.disksOf(c, id, groups[id])
	if len(twice) > 0 {
		return nil, wrong(v.unclear(), "has a disk that is there more than once, as %s: take the copies away, or name the disks that are meant (devices in the configuration)", strings.Join(twice, ", "))
	}
	now, err := v.candidates(ctx) // a device may have become a tenant's while LVM looked
	for _, d := range disks {
		if err == nil && !v.has(now, d) {
			err = wrong(volume.Unavailable, "was found on %s, which is not a device that it can be on any more: ask again%s", d, now.leftOut())
		}
	}
	return disks, err
}

// unclear is the kind of error where nobody can tell which group is meant: to begin with, the configuration has to say it.
func (v *Group) unclear() volume.Kind {
	if v.groupID() == "" {
		return volume.Invalid
	}
	return volume.Unavailable
}

func namesOf(groups map[string][]found) string {
	var all []string
	for _, id := range slices.Sorted(maps.Keys(groups)) {
		var paths []string
		for _, f := range groups[id] {
			paths = append(paths, f.path)
		}
		all = append(all, fmt.Sprintf("%s on %s", id, strings.Join(paths, ", ")))
	}
	return strings.Join(all, "; ")
}

// disksOf returns the device of each disk of a group. Several have the UUID of one disk where one lies on the other, as DRBD or a device-mapper
// device on all of a disk: then the uppermost is it. Of copies it is the one that logical volumes are active on; where that does not tell,
// twice names them. LVM would choose one, and change nothing while it sees the other; but it will not be shown it.
func (v *Group) disksOf(c candidates, group string, all []found) (disks, twice []string) {
	byDisk := map[string][]found{}
	for _, f := range all {
		byDisk[f.disk] = append(byDisk[f.disk], f)
	}
	for _, id := range slices.Sorted(maps.Keys(byDisk)) {
		same := byDisk[id]
		at := func(f found) host.BlockDevice {
			i := slices.IndexFunc(c.all, func(d host.BlockDevice) bool { return d.Path == f.path || v.isDevice(f.path, d.Number) })
			if i < 0 {
				return host.BlockDevice{}
			}
			return c.all[i]
		}
		if len(same) > 1 {
			same = slices.DeleteFunc(slices.Clone(same), func(f found) bool {
				return slices.ContainsFunc(byDisk[id], func(other found) bool { return liesOn(c.all, at(other), at(f).Number) })
			})
		}
		inUse := slices.DeleteFunc(slices.Clone(same), func(f found) bool {
			return !slices.ContainsFunc(c.all, func(d host.BlockDevice) bool {
				return slices.Contains(d.Below, at(f).Number) && strings.HasPrefix(d.MapperUUID, lvUUIDPrefix+strings.ReplaceAll(group, "-", ""))
			})
		})
		switch {
		case len(same) == 1:
			disks = append(disks, same[0].path)
		case len(inUse) == 1:
			disks = append(disks, inUse[0].path)
		default:
			for _, f := range same {
				twice = append(twice, f.path)
			}
		}
	}
	return disks, twice
}

// liesOn reports whether a device lies on another, directly or not.
func liesOn(all []host.BlockDevice, upper host.BlockDevice, lower host.DeviceNumber) bool {
	if slices.Contains(upper.Below, lower) {
		return true
	}
	return slices.ContainsFunc(all, func(d host.BlockDevice) bool {
		return slices.Contains(upper.Below, d.Number) && liesOn(all, d, lower)
	})
}

// pvsArgs asks LVM which devices say that they are disks of a group of that name.
func pvsArgs(group string) []string {
	return []string{"pvs", "--all", "--reportformat", "json", "-o", "pv_name,pv_uuid,vg_uuid", "--select", fmt.Sprintf("vg_name=%q", group)}
}

func parsePVs(text []byte) (all []found, err error) {
	sections, err := readSections(text)
	for _, r := range sections {
		for _, row := range r.PV {
			all = append(all, found{path: row["pv_name"], group: row["vg_uuid"], disk: row["pv_uuid"]})
		}
	}
	return all, err
}
