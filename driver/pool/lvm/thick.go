package lvm

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// thick is the layout of volumes that have all their blocks, with copy-on-write snapshots.
type thick struct {
	*ground
	shape shape
}

func (p *thick) where() (identity.Kind, string) {
	return identity.LVMThick, fmt.Sprintf("volume group %q", p.config.VolumeGroup)
}

func (p *thick) parts() shape { return p.shape }

func (p *thick) lies(l vg.LV) string { return l.Name }

// unit is an extent on each disk that holds data.
func (p *thick) unit() volume.Size { return p.extentSize() * volume.Size(p.shape.data) }

func (p *thick) cost(size volume.Size) int64 { return p.shape.cost(size, p.extentSize()) }

func (p *thick) snapshotCost(size volume.Size) int64 {
	return p.shape.cowCost(cowExtents(size, p.extentSize()))
}

func (p *thick) bytes(n int64, extent volume.Size) volume.Size { return p.shape.bytes(n, extent) }

func (p *thick) created() string { return wipedTag(0) }

func (p *thick) createFlags(size volume.Size) []string {
	return append([]string{"--zero", "n", "--wipesignatures", "n", "--size", byteText(size) + "b"}, p.shape.args...)
}

func (p *thick) snapshotFlags(size volume.Size) []string {
	flags := []string{"--chunksize", byteText(cowChunk) + "b", "--extents", strconv.FormatInt(cowExtents(size, p.extentSize()), 10)}
	if p.shape.images > 1 {
		flags = append(flags, "--stripes", strconv.Itoa(p.shape.images))
	}
	return flags
}

func (p *thick) shares() bool { return false }

func (p *thick) removable() vg.Is { return vg.WithoutSnapshots }

// activate has a device refuse writes by a setting of the command, so nothing of it is in the metadata.
func (p *thick) activate(c *vg.Command, name string, readOnly bool) {
	if readOnly {
		c.Settings = p.vg.ReadOnly(name)
	}
}

func (p *thick) permits() bool { return false }

// check says whether the group is one that the pool can be in.
func (p *thick) check(g *vg.Layout) error {
	if p.tooFewDisks(g) && !slices.ContainsFunc(g.LVs, p.ours) { // else it was one that had them
		return volume.Errorf(volume.Invalid, "a volume of type %s needs %d disks, and volume group %q has %d", p.config.Type, p.shape.images, g.Name, len(g.Disks))
	}
	return nil
}

// tooFewDisks reports whether no volume can be made for that.
func (p *thick) tooFewDisks(g *vg.Layout) bool { return len(g.Disks) < p.shape.images }

// retake takes the snapshot off its volume and has it begin with nothing: a store that begins with zeros is a new one
// (drivers/md/dm-snap-persistent.c).
func (p *thick) retake(ctx context.Context, s, _ vg.LV) (func() error, error) {
	name := p.vg.Mapped(s.Name)
	table, err := p.machine.MapperTable(name)
	if err != nil {
		return nil, err
	}
	mapped, err := p.machine.MappedDevices()
	if err != nil {
		return nil, err
	}
	cow, active := mapped[name+"-cow"]
	if table.Target != "snapshot" || !active {
		return nil, volume.Errorf(volume.Internal, "pool %q: device-mapper has %q for snapshot %q", p.name, table.Target, s.Name)
	}
	off := table
	off.Target, off.Parameters = "error", ""
	if err := p.machine.SetMapperTable(name, off); err != nil {
		return nil, err
	}
	if err := host.Wipe(ctx, cow.Device, 0, cowChunk, host.WipeZero); err != nil {
		return nil, err
	}
	return func() error { return p.machine.SetMapperTable(name, table) }, nil
}

// A copy-on-write snapshot (dm-snapshot) keeps chunks that its volume had at its instant, and behind each area
// with an entry of 16 bytes for as many chunks as fit, in a chunk of its own
// (Documentation/admin-guide/device-mapper/snapshot.rst). Smaller chunks copy less where little is
// written, and larger ones keep the kernel's table of them small.
const (
	cowChunk     = 64 * volume.KiB
	cowPerRecord = cowChunk / 16
)

// cowExtents returns how many extents a snapshot takes that can hold every chunk of a volume of the given size:
// the most that LVM gives it. A header comes first, and the last area has an entry that ends it.
func cowExtents(size, extent volume.Size) int64 {
	chunks := size.RoundUp(cowChunk) / cowChunk
	areas := chunks/cowPerRecord + 1
	return int64(((1 + chunks + areas) * cowChunk).RoundUp(extent) / extent)
}

// cowCost is what that takes of each image's extents. A snapshot is striped over as many disks as a volume
// has images, so it fits where one does, and has no copy or parity of its own.
func (s shape) cowCost(extents int64) int64 {
	images := int64(s.images)
	return (extents + images - 1) / images
}

// keepReadOnly returns the setting with which a command leaves a device that refuses writes
// as it is, empty where there is none.
func (p *thick) keepReadOnly(lvs ...string) (string, error) {
	mapped, err := p.machine.MappedDevices()
	if err != nil {
		return "", err
	}
	var readOnly []string
	for _, name := range lvs {
		if mapped[p.vg.Mapped(name)].ReadOnly {
			readOnly = append(readOnly, name)
		}
	}
	return p.vg.ReadOnly(readOnly...), nil
}

// makes reports whether a segment of that type is one of a volume or snapshot as loam makes them, or of a part of such a one.
func (p *thick) makes(segmentType string, part bool) bool {
	if p.shape.meta > 0 && !part && strings.HasPrefix(segmentType, string(p.config.Type)) {
		return true
	}
	return segmentType == "striped" // also the snapshots of RAID
}

// writable says whether somebody has made a volume read-only in its metadata (lvchange --permission r). The kind of its error is InUse.
func (p *thick) writable(id volume.ID, l vg.LV) error {
	if l.Writable {
		return nil
	}
	return volume.Errorf(volume.InUse, "volume %q: logical volume %s/%s is read-only in its metadata, and loam has not made it so: lvchange --permission rw %[2]s/%[3]s, or attach the volume read-only", id, p.config.VolumeGroup, l.Name)
}

// wipes reports whether the pool sees to it that a volume shows nothing of others by wiping.
func (p *thick) wipes() bool { return p.config.Wipe != WipeNone }
