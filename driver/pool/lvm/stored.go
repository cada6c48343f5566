package lvm

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm/vg/metadata"
	"github.com/loam-storage/loam/driver/volume"
)

func openDirect(path string) (metadata.Disk, error) { return host.OpenDirect(path) }

// translated is the group that the metadata say, kept until they are others.
type translated struct {
	from *metadata.VolumeGroup
	to   *group
	is   *string // the identity that was found in it
}

// stored returns the volume group as its metadata on the disks say it is at this moment, without a process. Of
// lv_attr only type and permission are known then, and of a thin pool whether it zeroes; the rest is '?'. Of the pool's own
// it is known, from device-mapper, whether it is active and how full it is. Where the disks cannot be read in this way, LVM is
// asked. Callers share what it returns.
func (p *Pool) stored(ctx context.Context) (*group, error) {
	g, err := p.reads.get(ctx, p.name, p.read)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil: // other disks, damage, a format that is not known here: LVM knows more
		p.fallbacks.Add(1)
		klog.FromContext(ctx).V(4).Info("LVM has to be asked about a volume group", "pool", p.name, "why", err)
		return p.look(ctx)
	case !p.thin():
		return g, nil
	}
	usage, active, err := p.thinUsage()
	if err != nil { // a pool that has failed says no numbers
		return p.look(ctx)
	}
	now := *g
	now.lvs = slices.Clone(g.lvs)
	for i := range now.lvs {
		if l := &now.lvs[i]; l.name == p.config.ThinPool {
			l.data, l.metadata, l.health = usage.Data, usage.Metadata, usage.Health
			l.attr = l.attr[:attrState] + stateLetter(active) + l.attr[attrState+1:]
		}
	}
	p.noticeUsage(&now)
	return &now, nil
}

// read reads the metadata. Only one call is at work at a time (shared).
func (p *Pool) read(context.Context) (*group, error) {
	vg, err := p.onDisk.Read(p.scanned())
	switch {
	case err != nil:
		return nil, err
	case vg.Name != p.config.VolumeGroup:
		return nil, volume.Errorf(volume.Unavailable, "volume group %q has the name %q now", p.config.VolumeGroup, vg.Name)
	case p.isAnother(vg.ID):
		return nil, volume.Errorf(volume.Unavailable, "volume group %q has the UUID %s now, and had %s", p.config.VolumeGroup, vg.ID, p.groupID())
	case vg != p.lastRead.from:
		p.lastRead = translated{from: vg, to: groupOf(vg)}
	}
	if id := p.id.Load(); id != p.lastRead.is {
		if err := p.same(p.lastRead.to); err != nil {
			return nil, err
		}
		p.lastRead.is = id
	}
	return p.lastRead.to, nil
}

// groupOf is what a report would show of the metadata.
func groupOf(vg *metadata.VolumeGroup) *group {
	g := &group{name: vg.Name, id: vg.ID, extent: volume.Size(vg.ExtentBytes), tags: vg.Tags}
	paths := map[string]string{}
	for _, d := range vg.Disks {
		paths[d.Name] = d.Path
		g.disks = append(g.disks, disk{name: d.Path, allocatable: d.Allocatable, extents: d.Extents, free: d.Extents - d.Allocated,
			end: volume.Size(d.StartBytes + d.Extents*vg.ExtentBytes)})
	}
	sizes := map[string]volume.Size{}
	origins := map[string]string{} // by the copy-on-write snapshot
	isOrigin, merging := map[string]bool{}, map[string]bool{}
	for _, l := range vg.LVs {
		sizes[l.Name] = volume.Size(l.Extents * vg.ExtentBytes)
		for _, s := range l.Segments {
			if s.COWStore != "" {
				origins[s.COWStore], isOrigin[s.Origin] = s.Origin, true
			}
			if s.External != "" {
				isOrigin[s.External] = true
			}
			if s.Merging {
				merging[l.Name], merging[s.COWStore], merging[s.Origin] = true, true, true
			}
		}
	}
	for _, l := range vg.LVs {
		if len(l.Segments) == 0 || l.Segments[0].COWStore != "" { // that only joins a snapshot to its volume
			continue
		}
		first := l.Segments[0]
		if first.External != "" {
			first.Origin = first.External
		}
		if isCache(first.Type) { // of its parts
			first.Origin = ""
		}
		found := lv{name: l.Name, uuid: mapperUUID(vg.ID, l.ID), size: sizes[l.Name], tags: l.Tags, pool: first.ThinPool, origin: first.Origin, metaBytes: sizes[first.Metadata], merging: merging[l.Name]}
		letter := letterOf(first.Type)
		if origin, ok := origins[l.Name]; ok {
			letter, found.origin = "s", origin
			found.size, found.cow = sizes[origin], found.size
		} else if isOrigin[l.Name] {
			letter = "o"
		}
		if !l.Visible && (found.merging || letter != "s") {
			found.name = "[" + l.Name + "]"
		}
		permission := "r"
		if l.Writable {
			permission = "w"
		}
		found.attr = letter + permission + strings.Repeat("?", attrZeroing-2) + zeroing(first) + "??"
		g.lvs = append(g.lvs, found)
		for _, s := range l.Segments {
			seg := segment{lv: found.name, kind: s.Type, chunk: volume.Size(s.ChunkBytes), thinID: s.ThinID, transaction: s.TransactionID, messages: s.Messages, deletes: s.Deletes}
			for _, stripe := range s.Stripes {
				seg.ranges = append(seg.ranges, fmt.Sprintf("%s:%d-%d", paths[stripe.Disk], stripe.First, stripe.First+stripe.Extents-1))
			}
			g.segments = append(g.segments, seg)
		}
	}
	return g
}

// zeroing is the letter in lv_attr that says whether a thin pool zeroes what it gives out.
func zeroing(s metadata.Segment) string {
	switch {
	case s.Type != "thin-pool":
		return "?"
	case s.Zeroes:
		return "z"
	}
	return "-"
}

// stateLetter is the letter in lv_attr that says whether a logical volume is active.
func stateLetter(active bool) string {
	if active {
		return "a"
	}
	return "-"
}

// letterOf is the letter in lv_attr of a logical volume whose segments are of that type, where it means something here.
func letterOf(segmentType string) string {
	switch {
	case segmentType == "thin":
		return "V"
	case segmentType == "thin-pool":
		return "t"
	case isCache(segmentType):
		return "C"
	case strings.HasPrefix(segmentType, "raid"):
		return "r"
	default:
		return "-"
	}
}
