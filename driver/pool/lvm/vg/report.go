package vg

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/loam-storage/loam/driver/volume"
)

// reportArgs asks LVM for all that a pool wants to know of its volume group, in one process.
func reportArgs(group string) []string {
	return []string{
		"fullreport", "--all", "--reportformat", "json", "--units", "b", "--nosuffix",
		"--configreport", "vg", "-o", "vg_name,vg_uuid,vg_extent_size,vg_attr,vg_tags,vg_missing_pv_count,vg_mda_size,vg_mda_free,max_lv,lv_count",
		"--configreport", "pv", "-o", "pv_name,pv_attr,pv_pe_count,pv_pe_alloc_count,pe_start",
		"--configreport", "lv", "-o", "lv_name,lv_uuid,lv_size,lv_attr,lv_tags,pool_lv,origin,origin_size,data_percent,metadata_percent,lv_health_status,lv_metadata_size",
		"--configreport", "pvseg", "-o", "pvseg_start",
		"--configreport", "seg", "-o", "lv_name,segtype,chunk_size,seg_pe_ranges,thin_id,transaction_id",
		group,
	}
}

// Report is what LVM and the kernel say of a volume group beside its layout.
type Report struct {
	Layout
	Exported   bool
	ReadOnly   bool             // in its metadata
	Allocation string           // the policy by which extents are given out, where it is one that may not find what is free: contiguous, or cling
	Texts      volume.Size      // how large the metadata may become; 0 where it is not known
	TextFree   volume.Size      // how much of that is free
	MaxLVs     int64            // how many logical volumes that users see it may have (vgchange --logicalvolume); 0: any number
	CountLVs   int64            // how many it has
	States     map[string]State // of the logical volumes, by name
}

// State is what only LVM and the kernel know of a logical volume.
type State struct {
	Active  bool
	Open    bool
	Invalid bool   // a copy-on-write snapshot that has lost what it had to keep; LVM knows it only while it is active
	Health  string // what is wrong with it, empty for nothing

	// Of a thin pool: percent of its data and metadata that are taken; 0 while it is not active.
	Data, Metadata float64
}

// Open reports whether somebody has the device of a logical volume open, or of a copy-on-write snapshot of it.
func (r *Report) Open(name string) bool {
	return r.States[name].Open || slices.ContainsFunc(r.LVs, func(l LV) bool { return l.IsCOW() && l.Origin == name && r.States[l.Name].Open })
}

// CountFull reports whether a group has as many logical volumes as it may.
func (r *Report) CountFull() bool { return r.MaxLVs > 0 && r.CountLVs >= r.MaxLVs }

type rows []map[string]string

// sections is a report of one volume group.
type sections struct {
	VG  rows `json:"vg"`
	PV  rows `json:"pv"`
	LV  rows `json:"lv"`
	Seg rows `json:"seg"`
}

// readSections reads what LVM prints as JSON, of each volume group.
func readSections(text []byte) ([]sections, error) {
	var report struct {
		Report []sections `json:"report"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return nil, volume.Errorf(volume.Internal, "report of lvm: %w", err)
	}
	return report.Report, nil
}

// ParseReport reads what reportArgs asks for. Anything that is not as it should be is an error, for what
// is not understood here could be taken for free space.
func ParseReport(text []byte) (*Report, error) {
	all, err := readSections(text)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(r sections) bool { return len(r.VG) > 0 })
	if i < 0 {
		return nil, volume.Errorf(volume.Internal, "report of lvm: there is no volume group in it")
	}
	in, n := all[i], &numbers{}
	vg := in.VG[0]
	attr := attributes(vg["vg_attr"])
	r := &Report{
		Layout:   Layout{Name: vg["vg_name"], ID: vg["vg_uuid"], Tags: list(vg["vg_tags"]), Extent: n.size(vg, "vg_extent_size"), Missing: int(n.count(vg, "vg_missing_pv_count"))},
		Exported: attr.at(vgExported) == 'x', ReadOnly: attr.at(vgPermission) == 'r', Allocation: map[byte]string{'c': "contiguous", 'l': "cling"}[attr.at(vgAllocation)],
		Texts: n.optional(vg, "vg_mda_size"), TextFree: n.optional(vg, "vg_mda_free"), MaxLVs: int64(n.optional(vg, "max_lv")), CountLVs: int64(n.optional(vg, "lv_count")),
		States: map[string]State{},
	}
	for _, row := range in.PV {
		d := Disk{Path: row["pv_name"], Extents: n.count(row, "pv_pe_count")}
		d.Allocatable = strings.HasPrefix(row["pv_attr"], "a")
		d.Missing = strings.HasSuffix(row["pv_attr"], "m")
		d.Free = d.Extents - n.count(row, "pv_pe_alloc_count")
		d.End = n.optional(row, "pe_start") + volume.Size(d.Extents)*r.Extent
		r.Disks = append(r.Disks, d)
	}
	segments := map[string][]map[string]string{}
	for _, row := range in.Seg {
		segments[row["lv_name"]] = append(segments[row["lv_name"]], row)
	}
	for _, row := range in.LV {
		l, state := n.logicalVolume(row, segments[row["lv_name"]])
		l.UUID = mapperUUID(r.ID, row["lv_uuid"])
		r.LVs, r.States[l.Name] = append(r.LVs, l), state
	}
	if n.err == nil && (r.Name == "" || r.Extent <= 0) {
		n.err = volume.Errorf(volume.Internal, "report of lvm: the volume group has no name or no extent size")
	}
	return r, n.err
}

// attributes are letters, of which each place says something: lv_attr in lvs(8), vg_attr in vgs(8).
type attributes string

// The places that say something here.
const (
	lvType, lvPermission, lvAllocation, lvState, lvOpen, lvZeroes = 0, 1, 2, 4, 5, 7
	vgPermission, vgExported, vgAllocation                        = 0, 2, 4
)

// at returns the letter in a place, 0 where there is none.
func (a attributes) at(place int) byte {
	if place >= len(a) {
		return 0
	}
	return a[place]
}

// logicalVolume reads one, of which the segments are given.
func (n *numbers) logicalVolume(row map[string]string, segments []map[string]string) (LV, State) {
	attr := attributes(row["lv_attr"])
	letter, state, allocation := attr.at(lvType), attr.at(lvState), attr.at(lvAllocation)
	l := LV{
		Name: strings.Trim(row["lv_name"], "[]"), Hidden: strings.HasPrefix(row["lv_name"], "["), Size: n.size(row, "lv_size"), Tags: list(row["lv_tags"]),
		Pool: visible(row["pool_lv"]), Origin: visible(row["origin"]), Writable: attr.at(lvPermission) != 'r', Moved: allocation >= 'A' && allocation <= 'Z',
		Merging: letter == 'O' || letter == 'S', HasSnapshots: letter == 'o' || letter == 'O',
	}
	switch {
	case letter == 'V', l.Merging && l.Pool != "": // the letter of one that is merged does not say that it is thin
		l.Type, l.HasSnapshots = TypeThin, false
	case letter == 't':
		l.Type = TypeThinPool
		l.MetadataSize, l.Zeroes = n.optional(row, "lv_metadata_size"), attr.at(lvZeroes) == 'z'
	case letter == 's', letter == 'S':
		l.Type = TypeCOW
		l.Size, l.Store = n.size(row, "origin_size"), l.Size
	case letter == 'p':
		l.Type = TypeMove
	}
	for _, row := range segments {
		s := Segment{Type: kindOfSegment(row["segtype"])}
		for _, text := range strings.Fields(row["seg_pe_ranges"]) {
			if r, ok := parseRange(text); ok {
				s.Ranges = append(s.Ranges, r)
			}
		}
		l.Segments = append(l.Segments, s)
		l.Chunk, l.Transaction, l.ThinID = n.optional(row, "chunk_size"), int64(n.optional(row, "transaction_id")), int64(n.optional(row, "thin_id"))
	}
	return l, State{
		Active: state == 'a', Open: attr.at(lvOpen) == 'o', Invalid: l.IsCOW() && (state == 'I' || state == 'S'), Health: row["lv_health_status"],
		Data: n.percent(row, "data_percent"), Metadata: n.percent(row, "metadata_percent"),
	}
}

// visible returns the name of a logical volume, empty where it is a hidden one: that with a cache is said to have an origin and a pool, which
// are parts of it.
func visible(name string) string {
	if strings.HasPrefix(name, "[") {
		return ""
	}
	return name
}

// kindOfSegment is the type of a segment as the metadata have it, which know a linear one as one with one stripe.
func kindOfSegment(segmentType string) string {
	if segmentType == "linear" {
		return "striped"
	}
	return segmentType
}

func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// numbers reads numbers and keeps the first error.
type numbers struct{ err error }

func (n *numbers) count(row map[string]string, key string) int64 {
	v, err := strconv.ParseInt(row[key], 10, 64)
	if (err != nil || v < 0) && n.err == nil {
		n.err = volume.Errorf(volume.Internal, "report of lvm: %s is %.64q, which is not a number", key, row[key])
	}
	return v
}

func (n *numbers) size(row map[string]string, key string) volume.Size {
	return volume.Size(n.count(row, key))
}

// optional is size where there may be none.
func (n *numbers) optional(row map[string]string, key string) volume.Size {
	if row[key] == "" {
		return 0
	}
	return n.size(row, key)
}

func (n *numbers) percent(row map[string]string, key string) float64 {
	if row[key] == "" {
		return 0
	}
	v, err := strconv.ParseFloat(row[key], 64)
	if (err != nil || v < 0 || v > 100) && n.err == nil {
		n.err = volume.Errorf(volume.Internal, "report of lvm: %s is %.64q, which is not a percentage", key, row[key])
	}
	return v
}
