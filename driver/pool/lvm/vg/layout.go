package vg

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/loam-storage/loam/driver/volume"
)

// Layout is what there is in a volume group. All of it is in LVM's metadata, so it is the same whether they are read from the
// disks or LVM reports them. Callers share a layout, and change nothing in it.
type Layout struct {
	Name    string
	ID      string // UUID
	Extent  volume.Size
	Tags    []string
	Missing int // disks that are not there
	Disks   []Disk
	LVs     []LV
}

// Disk is a physical volume.
type Disk struct {
	Path        string // or "[unknown]" while it is missing
	Allocatable bool   // its extents may be given out
	Missing     bool
	Extents     int64
	Free        int64       // extents
	End         volume.Size // where its last extent ends
}

// Type is what a logical volume is for LVM.
type Type int

// The types of logical volumes.
const (
	TypePlain    Type = iota // linear, striped, RAID, or with a cache: its segments say which
	TypeThin                 // in a thin pool
	TypeThinPool             // what thin ones are in
	TypeCOW                  // a copy-on-write snapshot
	TypeMove                 // what pvmove puts in the place of what it moves
)

// LV is a logical volume.
type LV struct {
	Name         string
	Hidden       bool   // a part of another, which users do not see
	UUID         string // of its device-mapper device (mapperUUID); empty where it is not known
	Type         Type
	Size         volume.Size // of a copy-on-write snapshot: that of its instant
	Store        volume.Size // of a copy-on-write snapshot: what it takes itself
	Tags         []string
	Writable     bool // in the metadata: its device may be read-only for all that
	HasSnapshots bool // copy-on-write ones, or it is the external origin of thin volumes
	Merging      bool // it is a snapshot that is to replace what its origin has, or that origin
	Moved        bool // pvmove is at work on it
	Origin       string
	Pool         string // the thin pool that it is in
	ThinID       int64  // its number there
	Segments     []Segment
	ThinData     // of a thin pool
}

// ThinData is what the metadata say of a thin pool.
type ThinData struct {
	Chunk        volume.Size
	MetadataSize volume.Size
	Zeroes       bool // blocks are zeroed before they are given out
	// The number of its last change, how many messages to it LVM has not sent yet, and the numbers that those have it
	// delete. A report does not say the last two.
	Transaction int64
	Messages    int
	Deletes     []int64
}

// Segment is a part of a logical volume that lies in one piece.
type Segment struct {
	Type   string  // as segtype in lvs(8); "striped" of linear ones, too
	Ranges []Range // that it takes of disks, and not of other logical volumes
}

// Range is a range of extents of a disk.
type Range struct {
	Disk        string // path
	First, Last int64
}

// Extents counts the extents in it.
func (r Range) Extents() int64 { return r.Last - r.First + 1 }

// String writes the range as commands of LVM take it.
func (r Range) String() string { return fmt.Sprintf("%s:%d-%d", r.Disk, r.First, r.Last) }

// parseRange reads what seg_pe_ranges in lvs(8) has for a range of a disk, such as "/dev/sda:0-99".
func parseRange(text string) (r Range, ok bool) {
	colon := strings.LastIndex(text, ":")
	from, to, _ := strings.Cut(text[colon+1:], "-")
	first, firstErr := strconv.ParseInt(from, 10, 64)
	last, lastErr := strconv.ParseInt(to, 10, 64)
	if firstErr != nil || lastErr != nil || first > last || !strings.HasPrefix(text, "/") {
		return r, false
	}
	return Range{Disk: text[:colon], First: first, Last: last}, true
}

// Has reports whether it has the tag.
func (l LV) Has(tag string) bool { return slices.Contains(l.Tags, tag) }

// IsCOW reports whether it is a copy-on-write snapshot.
func (l LV) IsCOW() bool { return l.Type == TypeCOW }

// RestsOn reports whether a logical volume lacks what it does not have itself when the other one goes: as its copy-on-write snapshot, or as a thin
// volume of another pool with an external origin.
func (l LV) RestsOn(origin LV) bool {
	return origin.Name != "" && l.Origin == origin.Name && (l.IsCOW() || (l.Pool != "" && l.Pool != origin.Pool))
}

// Ranges returns what it takes of disks itself.
func (l LV) Ranges() (all []Range) {
	for _, s := range l.Segments {
		all = append(all, s.Ranges...)
	}
	return all
}

// Extents counts the extents in ranges.
func Extents(ranges []Range) (n int64) {
	for _, r := range ranges {
		n += r.Extents()
	}
	return n
}

// Reserved is what LVM has in the names of parts of logical volumes, and lets no other name contain (lvm(8), VALID NAMES).
var Reserved = []string{
	"_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_wcorig", "_mimage", "_mlog", "_rimage", "_rmeta",
	"_tdata", "_tmeta", "_vdata", "_vorigin", "_pmspare", "_imeta", "_iorig",
}

// IsReserved reports whether LVM lets only a part of a logical volume have that name.
func IsReserved(name string) bool {
	return slices.ContainsFunc(Reserved, func(part string) bool { return strings.Contains(name, part) })
}

// IsPart reports whether a logical volume is a part of another. By its name as well: while LVM makes a RAID volume its parts are not
// hidden yet. LVM gives the tags of a RAID volume to the metadata of its images, too.
func (l LV) IsPart() bool { return l.Hidden || IsReserved(l.Name) }

// Whole returns the name of the logical volume that it is or that it is a part of.
func (l LV) Whole() string {
	name := l.Name
	for _, part := range Reserved {
		name, _, _ = strings.Cut(name, part)
	}
	return name
}

// IsPartOf reports whether it is a hidden part of the one with that name.
func (l LV) IsPartOf(name string) bool { return l.Hidden && l.Whole() == name }

// Find returns the logical volume of that name, if it is not hidden.
func (g *Layout) Find(name string) (LV, bool) {
	i := slices.IndexFunc(g.LVs, func(l LV) bool { return l.Name == name && !l.Hidden })
	if i < 0 {
		return LV{}, false
	}
	return g.LVs[i], true
}

// Free returns how many extents of a group can be given out.
func (g *Layout) Free() (extents int64) {
	for _, d := range g.Disks {
		if d.Allocatable && !d.Missing {
			extents += d.Free
		}
	}
	return extents
}

// MovedIn reports whether pvmove is at work on a logical volume, or on what it is made of.
func (g *Layout) MovedIn(name string) bool {
	return slices.ContainsFunc(g.LVs, func(l LV) bool {
		return l.Moved && ((l.Name == name && !l.Hidden) || l.IsPartOf(name))
	})
}

// Move returns the name of a pvmove that is at work in the group, empty where there is none.
func (g *Layout) Move() string {
	i := slices.IndexFunc(g.LVs, func(l LV) bool { return l.Type == TypeMove })
	if i < 0 {
		return ""
	}
	return g.LVs[i].Name
}

// mapperUUID returns the UUID that LVM gives the device of a logical volume, without the hyphens in those of
// both (build_dm_uuid in lib/activate/dev_manager.c); empty where one of them is.
func mapperUUID(group, volume string) string {
	if group == "" || volume == "" {
		return ""
	}
	return lvUUIDPrefix + strings.ReplaceAll(group+volume, "-", "")
}
