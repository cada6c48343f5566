package lvm

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

// group is a volume group as a report shows it.
type group struct {
	name     string
	id       string // UUID
	extent   volume.Size
	attr     string // as vg_attr in vgs(8)
	tags     []string
	missing  int         // disks that are not there
	texts    volume.Size // how large the metadata of the group may become; 0 where it is not known
	textFree volume.Size // how much of that is free
	maxLVs   int64       // how many logical volumes that users see it may have (vgchange --logicalvolume); 0 where it may have any
	countLVs int64       // how many it has; both are known from a report only
	disks    []disk
	lvs      []lv
	segments []segment
}

// disk is a physical volume.
type disk struct {
	name        string // path, or "[unknown]" while it is missing
	allocatable bool
	missing     bool
	extents     int64
	free        int64       // extents
	end         volume.Size // where its last extent ends
}

// lv is a logical volume.
type lv struct {
	name      string // in brackets where it is a hidden part of another
	uuid      string // of its device-mapper device (mapperUUID); empty where it is not known
	size      volume.Size
	attr      string // as lv_attr in lvs(8)
	tags      []string
	pool      string // thin pool that it is in
	origin    string
	cow       volume.Size // of a copy-on-write snapshot: what it takes itself; size is that of its instant
	health    string
	data      float64     // percent of the pool that is taken; 0 while it is not active
	metadata  float64     // the same of its metadata
	metaBytes volume.Size // of a thin pool: size of its metadata
	merging   bool        // it is a snapshot that is to replace what its origin has, or that origin
	on        []string    // of one that is to be made: the disks that it may lie on; none: any
}

// segment is a part of a logical volume that lies in one piece.
type segment struct {
	lv     string
	kind   string      // as segtype in lvs(8); "striped" of linear ones, too
	chunk  volume.Size // of a thin pool
	ranges []string    // of extents, as "/dev/sda:0-99"
	thinID int64       // number of a thin one in its pool, 0 of others
	// Of a thin pool: the number of its last change, and how many messages to it LVM has not sent, which only the metadata say.
	transaction int64
	messages    int
	deletes     []int64 // numbers that those have it delete
}

// The places in lv_attr (lvs(8)) that say something here.
const (
	attrType       = 0
	attrPermission = 1
	attrAllocation = 2 // a capital while it is moved (pvmove)
	attrState      = 4
	attrOpen       = 5
	attrZeroing    = 7
)

func (l lv) is(place int, letter byte) bool { return len(l.attr) > place && l.attr[place] == letter }
func (l lv) has(tag string) bool            { return slices.Contains(l.tags, tag) }

// find returns the logical volume of that name.
func (g *group) find(name string) (lv, bool) {
	i := slices.IndexFunc(g.lvs, func(l lv) bool { return l.name == name })
	if i < 0 {
		return lv{}, false
	}
	return g.lvs[i], true
}

// thinID returns the number that a thin logical volume has in its pool, 0 where it has none.
func (g *group) thinID(name string) int64 {
	i := slices.IndexFunc(g.segments, func(s segment) bool { return s.lv == name })
	if i < 0 {
		return 0
	}
	return g.segments[i].thinID
}

type rows []map[string]string

// sections is a report of one volume group.
type sections struct {
	VG  rows `json:"vg"`
	PV  rows `json:"pv"`
	LV  rows `json:"lv"`
	Seg rows `json:"seg"`
}

// parseReport reads what reportArgs asks for. Anything that is not as it should be is an error, for what
// is not understood here could be taken for free space.
func parseReport(text []byte) (*group, error) {
	var report struct {
		Report []sections `json:"report"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return nil, volume.Errorf(volume.Internal, "report of lvm: %w", err)
	}
	i := slices.IndexFunc(report.Report, func(r sections) bool { return len(r.VG) > 0 })
	if i < 0 {
		return nil, volume.Errorf(volume.Internal, "report of lvm: there is no volume group in it")
	}
	r, n := report.Report[i], &numbers{}
	vg := r.VG[0]
	g := &group{name: vg["vg_name"], id: vg["vg_uuid"], attr: vg["vg_attr"], tags: list(vg["vg_tags"]), extent: n.size(vg, "vg_extent_size"), missing: int(n.count(vg, "vg_missing_pv_count"))}
	g.maxLVs, g.countLVs = int64(n.optional(vg, "max_lv")), int64(n.optional(vg, "lv_count"))
	g.texts, g.textFree = n.optional(vg, "vg_mda_size"), n.optional(vg, "vg_mda_free")
	for _, row := range r.PV {
		d := disk{name: row["pv_name"], extents: n.count(row, "pv_pe_count")}
		d.allocatable = strings.HasPrefix(row["pv_attr"], "a")
		d.missing = strings.HasSuffix(row["pv_attr"], "m")
		d.free = d.extents - n.count(row, "pv_pe_alloc_count")
		d.end = n.optional(row, "pe_start") + volume.Size(d.extents)*g.extent
		g.disks = append(g.disks, d)
	}
	for _, row := range r.LV {
		l := lv{
			name: row["lv_name"], uuid: mapperUUID(vg["vg_uuid"], row["lv_uuid"]), size: n.size(row, "lv_size"), attr: row["lv_attr"], tags: list(row["lv_tags"]),
			pool: visible(row["pool_lv"]), origin: visible(row["origin"]), health: row["lv_health_status"],
			data: n.percent(row, "data_percent"), metadata: n.percent(row, "metadata_percent"),
		}
		if l.is(attrType, 't') {
			l.metaBytes = n.optional(row, "lv_metadata_size")
		}
		l.readMerge()
		if l.isCOW() {
			l.size, l.cow = n.size(row, "origin_size"), l.size
		}
		g.lvs = append(g.lvs, l)
	}
	for _, row := range r.Seg {
		g.segments = append(g.segments, segment{lv: row["lv_name"], kind: kindOfSegment(row["segtype"]), chunk: n.optional(row, "chunk_size"), ranges: strings.Fields(row["seg_pe_ranges"]), thinID: int64(n.optional(row, "thin_id")), transaction: int64(n.optional(row, "transaction_id"))})
	}
	if n.err == nil && (g.name == "" || g.extent <= 0) {
		n.err = volume.Errorf(volume.Internal, "report of lvm: the volume group has no name or no extent size")
	}
	return g, n.err
}

// visible returns the name of a logical volume, empty where it is a hidden one: that with a cache is said to have an origin and a pool, which
// are parts of it.
func visible(name string) string {
	if strings.HasPrefix(name, "[") {
		return ""
	}
	return name
}

// readMerge reads from the type in lv_attr whether it takes part in a merge. That of a thin one does not say any more that it is thin.
func (l *lv) readMerge() {
	l.merging = l.is(attrType, 'O') || l.is(attrType, 'S')
	if l.merging && l.pool != "" {
		l.attr = "V" + l.attr[1:]
	}
}

// kindOfSegment is the type of a segment as the metadata have it, which know a linear one as one with one stripe.
func kindOfSegment(segmentType string) string {
	if segmentType == "linear" {
		return "striped"
	}
	return segmentType
}

// mapperUUID returns the UUID that LVM gives the device of a logical volume, without the hyphens in those of
// both (build_dm_uuid in lib/activate/dev_manager.c); empty where one of them is.
func mapperUUID(group, volume string) string {
	if group == "" || volume == "" {
		return ""
	}
	return "LVM-" + strings.ReplaceAll(group+volume, "-", "")
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
