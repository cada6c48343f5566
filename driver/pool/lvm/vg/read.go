package vg

import (
	"cmp"
	"context"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/pool/lvm/vg/metadata"
	"github.com/loam-storage/loam/driver/volume"
)

// translated is the group that the metadata say, kept until they are others.
type translated struct {
	from *metadata.VolumeGroup
	to   *Layout
	is   *expectation // that it met
}

// Layout returns the volume group as its metadata on the disks say it is at this moment, without a process. Where the disks cannot
// be read in this way, LVM is asked. Callers share what it returns.
func (v *Group) Layout(ctx context.Context) (*Layout, error) {
	g, err := v.reads.get(ctx, v.of.Pool, v.read)
	if err != nil && ctx.Err() == nil { // other disks, damage, a format that is not known here: LVM knows more
		v.fallbacks.Add(1)
		klog.FromContext(ctx).V(4).Info("LVM has to be asked about a volume group", "pool", v.of.Pool, "why", err)
		return LayoutIn(v.Report(ctx))
	}
	return g, err
}

// now returns the layout as it is without counting where LVM has to be asked; locked says that this process has LVM's lock, which LVM itself
// would wait for.
func (v *Group) now(ctx context.Context, locked bool) (*Layout, error) {
	g, err := v.reads.get(ctx, v.of.Pool, v.read)
	switch {
	case err == nil || ctx.Err() != nil:
		return g, err
	case locked:
		return LayoutIn(v.ReportLocked(ctx))
	}
	return LayoutIn(v.Report(ctx))
}

// LayoutIn returns the layout of a report.
func LayoutIn(r *Report, err error) (*Layout, error) {
	if err != nil {
		return nil, err
	}
	return &r.Layout, nil
}

// read reads the metadata. Only one call is at work at a time (shared).
func (v *Group) read(context.Context) (*Layout, error) {
	vg, err := v.onDisk.Read(v.scanned())
	switch {
	case err != nil:
		return nil, err
	case vg.Name != v.of.Name:
		return nil, volume.Errorf(volume.Unavailable, "volume group %q has the name %q now", v.of.Name, vg.Name)
	case v.isAnother(vg.ID):
		return nil, volume.Errorf(volume.Unavailable, "volume group %q has the UUID %s now, and had %s", v.of.Name, vg.ID, v.groupID())
	case vg != v.lastRead.from:
		v.lastRead = translated{from: vg, to: layoutOf(vg)}
	}
	if expected := v.expected.Load(); expected != v.lastRead.is {
		if err := expected.check(v.lastRead.to); err != nil {
			return nil, err
		}
		v.lastRead.is = expected
	}
	return v.lastRead.to, nil
}

// layoutOf translates the metadata.
func layoutOf(vg *metadata.VolumeGroup) *Layout {
	g := &Layout{Name: vg.Name, ID: vg.ID, Extent: volume.Size(vg.ExtentBytes), Tags: vg.Tags}
	paths := map[string]string{}
	for _, d := range vg.Disks {
		paths[d.Name] = d.Path
		g.Disks = append(g.Disks, Disk{Path: d.Path, Allocatable: d.Allocatable, Extents: d.Extents, Free: d.Extents - d.Allocated,
			End: volume.Size(d.StartBytes + d.Extents*vg.ExtentBytes)})
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
		found := LV{
			Name: l.Name, UUID: mapperUUID(vg.ID, l.ID), Size: sizes[l.Name], Tags: l.Tags, Writable: l.Writable, Merging: merging[l.Name], HasSnapshots: isOrigin[l.Name],
			Moved: l.Locked, Origin: cmp.Or(first.External, first.Origin), Pool: first.ThinPool, ThinID: first.ThinID,
		}
		if IsCache(first.Type) { // that is a part of it
			found.Origin = ""
		}
		origin, isCOW := origins[l.Name]
		switch {
		case isCOW:
			found.Type, found.Origin, found.HasSnapshots = TypeCOW, origin, false
			found.Size, found.Store = sizes[origin], found.Size
		case first.Type == "thin":
			found.Type = TypeThin
		case first.Type == "thin-pool":
			found.Type = TypeThinPool
			found.ThinData = ThinData{Chunk: volume.Size(first.ChunkBytes), MetadataSize: sizes[first.Metadata], Zeroes: first.Zeroes, Transaction: first.TransactionID, Messages: first.Messages, Deletes: first.Deletes}
		}
		found.Hidden = !l.Visible && (found.Merging || !isCOW)
		for _, s := range l.Segments {
			seg := Segment{Type: s.Type}
			for _, stripe := range s.Stripes {
				if path, ok := paths[stripe.Disk]; ok {
					seg.Ranges = append(seg.Ranges, Range{Disk: path, First: stripe.First, Last: stripe.First + stripe.Extents - 1})
				}
			}
			found.Segments = append(found.Segments, seg)
		}
		g.LVs = append(g.LVs, found)
	}
	return g
}

// IsCache reports whether a logical volume with a segment of that type lies on one that is as it was before, and has a cache.
func IsCache(segmentType string) bool { return segmentType == "cache" || segmentType == "writecache" }
