package vg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm/vg/metadata"
	"github.com/loam-storage/loam/driver/volume"
)

// TagPrefix begins each tag of loam.
const TagPrefix = volume.DriverName + "/"

// What a tenant writes into a raw volume may look like a disk of a volume group, also of ours. So no device of a volume is
// ever one that LVM looks for a group on: none of any loam on this machine, and none that lies on one.

// owned returns the devices that are volumes, snapshots or file systems of a loam pool of this machine, those that lie on
// them, and those that nobody can look into, with the reason in words. The LVs are the UUIDs of logical volumes that have loam's
// tags under whatever name, without their hyphens, as device-mapper has them behind "LVM-" and the group's.
func owned(all []host.BlockDevice, lvs map[string]bool) map[host.DeviceNumber]string {
	why := map[host.DeviceNumber]string{}
	for _, d := range all {
		group, lv := pool.SplitMapped(d.MapperName)
		logical := strings.HasPrefix(d.MapperUUID, lvUUIDPrefix)
		switch {
		case logical && strings.HasPrefix(lv, pool.LVPrefix), logical && lvs[strings.TrimPrefix(d.MapperUUID, lvUUIDPrefix)]:
			why[d.Number] = fmt.Sprintf("logical volume %s/%s of loam", group, lv)
		case logical && len(d.MapperUUID) > len(lvUUIDPrefix)+2*uuidBytes:
			why[d.Number] = fmt.Sprintf("a part of logical volume %s/%s", group, lv)
		case d.File == nil:
		case d.File.Hung:
			why[d.Number] = fmt.Sprintf("its file %q does not answer", d.File.Path)
		case d.File.Hidden:
			why[d.Number] = fmt.Sprintf("its file %q is on a file system that is not mounted here", d.File.Path)
		case isLoamFile(*d.File):
			why[d.Number] = fmt.Sprintf("file %q of a loam pool", d.File.Path)
		}
	}
	for changed := true; changed; {
		changed = false
		for _, d := range all {
			below := slices.IndexFunc(d.Below, func(n host.DeviceNumber) bool { return why[n] != "" })
			if below >= 0 && why[d.Number] == "" {
				why[d.Number], changed = "it lies on "+nameOf(all, d.Below[below]), true
			}
		}
	}
	return why
}

func nameOf(all []host.BlockDevice, n host.DeviceNumber) string {
	if i := slices.IndexFunc(all, func(d host.BlockDevice) bool { return d.Number == n }); i >= 0 {
		return "/dev/" + all[i].Name
	}
	return n.String()
}

// The UUID that device-mapper has of a logical volume is "LVM-", that of the group and its own, without hyphens. Layers and hidden
// parts have a further word behind that.
const (
	lvUUIDPrefix = "LVM-"
	uuidBytes    = 32
)

// poolFile matches the path of what a loop pool attaches (docs/on-disk.md): images, also those that are being made or
// removed, and the file system of the pool itself. What stands before is the pool's directory.
var poolFile = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(.*)/(?:(?:volumes|snapshots|groups|new)/.+/image|filesystem(?:\.new)?)$`)
})

// isLoamFile reports whether a file is one of a loop pool. Where the kernel names a file that is there, the pool has to be there, too: others
// may well call a file so. Where that cannot be seen, the name decides.
func isLoamFile(f host.BackingFile) bool {
	m := poolFile().FindStringSubmatch(f.Path)
	if m == nil {
		return false
	}
	if f.Deleted || f.ID == (host.FileID{}) {
		return true
	}
	if now, _, err := host.Identify(f.Path); err != nil || now != f.ID {
		return true
	}
	there := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(name string) bool {
			_, err := os.Lstat(name)
			return errors.Is(err, os.ErrNotExist)
		})
	}
	beside := func(name string) string { return filepath.Join(filepath.Dir(f.Path), name) }
	if filepath.Base(f.Path) != "image" {
		return there(beside("lock"))
	}
	return there(beside("volume.json")) || there(beside("snapshot.json")) ||
		there(filepath.Join(m[1], "volumes"), filepath.Join(m[1], "snapshots"), filepath.Join(m[1], "new"))
}

// renamed returns the UUIDs of logical volumes that are active under a name that is not loam's and have its tags, as owned
// takes them. It reads the metadata of their groups; a disk that cannot be read, or hangs, says nothing.
func renamed(ctx context.Context, all []host.BlockDevice, open func(path string) (metadata.Disk, error)) map[string]bool {
	disks := map[string]bool{} // paths of those that such logical volumes lie on
	for _, d := range all {
		if _, lv := pool.SplitMapped(d.MapperName); strings.HasPrefix(d.MapperUUID, lvUUIDPrefix) && !strings.HasPrefix(lv, pool.LVPrefix) {
			for _, path := range disksBelow(all, d) {
				disks[path] = true
			}
		}
	}
	found := map[string]bool{}
	for _, d := range describedOn(ctx, slices.Collect(maps.Keys(disks)), open) {
		for _, l := range d.vg.LVs {
			if slices.ContainsFunc(l.Tags, func(tag string) bool { return strings.HasPrefix(tag, TagPrefix) }) {
				found[strings.ReplaceAll(d.vg.ID+l.ID, "-", "")] = true
			}
		}
	}
	return found
}

// disksBelow returns the disks of the group that a logical volume lies on: the first devices below it that are not of its group.
func disksBelow(all []host.BlockDevice, lv host.BlockDevice) (paths []string) {
	of := lv.MapperUUID[:min(len(lv.MapperUUID), len(lvUUIDPrefix)+uuidBytes)]
	for _, d := range all {
		switch {
		case !slices.Contains(lv.Below, d.Number):
		case strings.HasPrefix(d.MapperUUID, of):
			paths = append(paths, disksBelow(all, d)...)
		case d.Path != "":
			paths = append(paths, d.Path)
		}
	}
	return paths
}
