package vg

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/loam-storage/loam/driver/pool/lvm/vg/metadata"
)

// LVM does not say why it does not show a group: that it is another machine's, or is shared, is a line among its
// warnings, and a disk that it was not given it knows nothing of. So when a group is not found, the labels of the disks are
// read here. What they say is only told; nothing is decided by it, since whoever writes to a device can write a label.

// byID is what helps where the names of disks have changed.
const byID = "names like that may be those of other disks after the machine has started, and the links in /dev/disk/by-id are not: put those into the configuration (devices)"

// described is a group as the label of a device describes it.
type described struct {
	path string
	vg   *metadata.VolumeGroup
}

// whereabouts says where the pool's group is, and why LVM does not show it; empty where no device describes it.
func (v *Group) whereabouts(ctx context.Context, c candidates) string {
	var paths []string
	for _, d := range c.all {
		if c.why[d.Number] == "" && d.Path != "" && d.SizeBytes > 0 {
			paths = append(paths, d.Path)
		}
	}
	known := v.groupID()
	var on []string
	var vg *metadata.VolumeGroup
	for _, d := range describedOn(ctx, paths, v.Disks.Open) {
		if d.vg.ID == known || (known == "" && d.vg.Name == v.of.Name) {
			on, vg = append(on, d.path), d.vg
		}
	}
	if vg == nil {
		return ""
	}
	slices.Sort(on)
	where := strings.Join(on, ", ")
	switch {
	case !slices.ContainsFunc(on, func(path string) bool { return v.has(c, path) }):
		return fmt.Sprintf("is not on the devices that the configuration names (%s), but seems to be on %s: %s", strings.Join(v.of.Devices, ", "), where, byID)
	case vg.Name != v.of.Name:
		return fmt.Sprintf("is on %s under the name %q: vgrename it back", where, vg.Name)
	case vg.Clustered || (vg.LockType != "" && vg.LockType != "none"):
		return fmt.Sprintf("is on %s, and is one that machines share (lvmlockd(8)), which loam has no pools in: where it is this machine's alone, vgchange --lock-type none --lock-opt force %s", where, v.of.Name)
	case vg.SystemID != "":
		return fmt.Sprintf("is on %s, and is that of the machine with the system ID %q (lvmsystemid(7)): where that is this one, let the lvm.conf that loam's LVM reads say so, else take the disks there, or have that machine give the group away (vgchange --systemid)", where, vg.SystemID)
	}
	return ""
}

// labelPatience is how long disks are waited for that may hang.
const labelPatience = 3 * time.Second

// describedOn reads the groups that devices describe. A device that cannot be read, or hangs, says nothing.
func describedOn(ctx context.Context, paths []string, open func(path string) (metadata.Disk, error)) (all []described) {
	answers := make(chan described, len(paths))
	for _, path := range paths {
		go func() {
			answers <- described{path, describes(path, open)}
		}()
	}
	patience := time.NewTimer(labelPatience)
	defer patience.Stop()
	for range paths {
		select {
		case d := <-answers:
			if d.vg != nil {
				all = append(all, d)
			}
		case <-patience.C:
			return all
		case <-ctx.Done():
			return all
		}
	}
	return all
}

// describes returns the group that a device describes, nil where it describes none.
func describes(path string, open func(path string) (metadata.Disk, error)) *metadata.VolumeGroup {
	d, err := open(path)
	if err != nil {
		return nil
	}
	defer d.Close() //nolint:errcheck // only read
	vg, err := metadata.ReadDisk(d)
	if err != nil {
		return nil
	}
	return vg
}

// StrayDevices says which of the devices that the configuration names are no disks of the group, empty where all are or it names none.
func (v *Group) StrayDevices(g *Layout) string {
	if v.of.Create {
		return ""
	}
	var stray []string
	for _, path := range v.of.Devices {
		if _, err := os.Stat(path); err != nil {
			stray = append(stray, path+" (which is not there)")
			continue
		}
		d, err := v.of.Machine.Device(path)
		if err == nil && !slices.ContainsFunc(g.Disks, func(of Disk) bool { return of.Path == path || v.isDevice(of.Path, d.Number) }) {
			stray = append(stray, path)
		}
	}
	if len(stray) == 0 {
		return ""
	}
	return fmt.Sprintf("; the configuration names %s, which is no disk of it now: %s", strings.Join(stray, ", "), byID)
}

// Lacks says that a group is not whole, and what to do.
func (v *Group) Lacks(g *Layout) string {
	return "lacks a disk, and nothing is changed meanwhile: bring it back, or replace it (docs/lvm.md)" + v.StrayDevices(g)
}
