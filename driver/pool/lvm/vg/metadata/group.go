package metadata

import (
	"fmt"
	"slices"
	"strings"
)

// VolumeGroup is a volume group as its metadata say.
type VolumeGroup struct {
	Name        string
	ID          string // UUID
	SeqNo       int64  // is counted up with each change
	Tags        []string
	ExtentBytes int64
	SystemID    string // of the machine whose it is; empty where it is anybody's
	LockType    string // how machines that share it lock it; empty, or "none", where they do not
	Clustered   bool   // it was shared in the way of earlier versions
	Disks       []PhysicalVolume
	LVs         []LogicalVolume // in the order of their names
}

// PhysicalVolume is a disk of the group.
type PhysicalVolume struct {
	Name        string // within the metadata, such as "pv0"
	ID          string // UUID
	Path        string // where it was read
	Allocatable bool   // space of it may be given out
	StartBytes  int64  // where its first extent begins
	Missing     bool   // LVM has gone on without it
	Extents     int64
	Allocated   int64 // extents
}

// LogicalVolume is one that users see, or a hidden part of one.
type LogicalVolume struct {
	Name     string
	ID       string // UUID
	Tags     []string
	Visible  bool
	Writable bool
	Locked   bool // pvmove is at work on it
	Extents  int64
	Segments []Segment
}

// Segment is a part of a logical volume that lies in one piece. What its type has not is empty.
type Segment struct {
	Type       string // as in lvs -o segtype
	Origin     string // of a thin snapshot, and of "snapshot"
	External   string // of "thin": the origin of what the pool has not of it, a logical volume outside of the pool
	COWStore   string // of "snapshot": the logical volume that is the snapshot
	Merging    bool   // of "snapshot", or of "thin": what the snapshot has is to replace what its origin has
	ThinPool   string // of "thin"
	Metadata   string // of "thin-pool"
	ChunkBytes int64  // of "thin-pool"
	Zeroes     bool   // of "thin-pool": blocks are zeroed before they are given out
	ThinID     int64  // of "thin": its number in the pool
	// Of "thin-pool": the number of its last change, which the kernel has to have as well, and how many messages LVM
	// has written down to send to the kernel and not sent yet.
	TransactionID int64
	Messages      int
	Deletes       []int64 // numbers that those have it delete
	Stripes       []Stripe
}

// Stripe is what a segment takes of one disk.
type Stripe struct {
	Disk    string // its Name
	First   int64  // extent
	Extents int64
}

// volumeGroup reads the top section of the metadata.
func volumeGroup(top section) (*VolumeGroup, error) {
	var err error
	var name string
	var vg section
	for key, value := range top {
		if s, ok := value.(section); ok {
			if vg != nil {
				return nil, fmt.Errorf("there are two volume groups in the metadata")
			}
			name, vg = key, s
		}
	}
	if vg == nil {
		return nil, fmt.Errorf("there is no volume group in the metadata")
	}
	g := &VolumeGroup{
		Name: name, ID: vg.text("id", &err), SeqNo: vg.number("seqno", &err), Tags: vg.strings("tags", &err),
		ExtentBytes: vg.number("extent_size", &err) * sectorBytes, SystemID: vg.optional("system_id"), LockType: vg.optional("lock_type"),
		Clustered: slices.Contains(vg.strings("status", &err), "CLUSTERED"),
	}
	if vg["logical_volumes"] != nil {
		all := vg.section("logical_volumes", &err)
		for _, name := range all.names() {
			lv, lvErr := logicalVolume(name, all.section(name, &err))
			if lvErr != nil {
				return nil, fmt.Errorf("logical volume %q: %w", name, lvErr)
			}
			g.LVs = append(g.LVs, lv)
		}
	}
	allocated := map[string]int64{} // by the name of the disk
	for _, lv := range g.LVs {
		for _, s := range lv.Segments {
			for _, stripe := range s.Stripes {
				allocated[stripe.Disk] += stripe.Extents
			}
		}
	}
	all := vg.section("physical_volumes", &err)
	for _, name := range all.names() {
		pv := all.section(name, &err)
		status := append(pv.strings("status", &err), pv.strings("flags", &err)...)
		g.Disks = append(g.Disks, PhysicalVolume{
			Name: name, ID: pv.text("id", &err), Extents: pv.number("pe_count", &err), Allocated: allocated[name], StartBytes: pv.number("pe_start", &err) * sectorBytes,
			Allocatable: slices.Contains(status, "ALLOCATABLE"), Missing: slices.Contains(status, "MISSING"),
		})
	}
	if err == nil && g.ExtentBytes <= 0 {
		err = fmt.Errorf("extent_size is %d in the metadata", g.ExtentBytes)
	}
	return g, err
}

func logicalVolume(name string, s section) (lv LogicalVolume, err error) {
	status := s.strings("status", &err)
	lv = LogicalVolume{
		Name: name, ID: s.text("id", &err), Tags: s.strings("tags", &err),
		Visible: slices.Contains(status, "VISIBLE"), Writable: slices.Contains(status, "WRITE"), Locked: slices.Contains(status, "LOCKED"),
	}
	count := s.number("segment_count", &err)
	for i := int64(1); i <= count && err == nil; i++ {
		seg := s.section(fmt.Sprintf("segment%d", i), &err)
		extents := seg.number("extent_count", &err)
		lv.Extents += extents
		kind, _, _ := strings.Cut(seg.text("type", &err), "+") // flags, as in "cache+CACHE_USES_CACHEVOL"
		found := Segment{
			Type: kind, Origin: seg.optional("origin"), External: seg.optional("external_origin"), COWStore: seg.optional("cow_store"),
			Merging: seg["merging_store"] != nil || seg["merge"] != nil, ThinPool: seg.optional("thin_pool"), Metadata: seg.optional("metadata"), ChunkBytes: seg.chunkBytes(), Zeroes: seg["zero_new_blocks"] == int64(1),
		}
		if store := seg.optional("merging_store"); store != "" {
			found.COWStore = store
		}
		switch found.Type {
		case "thin":
			found.ThinID = seg.number("device_id", &err)
		case "thin-pool":
			found.TransactionID = seg.number("transaction_id", &err)
			found.Messages, found.Deletes = seg.messages()
		}
		if err == nil {
			found.Stripes, err = seg.stripes(extents)
		}
		lv.Segments = append(lv.Segments, found)
	}
	return lv, err
}

// stripes reads what a segment takes of disks: of each an even part. A RAID or a thin pool takes it through hidden
// logical volumes, which are counted where they are.
func (s section) stripes(extents int64) (stripes []Stripe, err error) {
	if s.text("type", &err) != "striped" {
		if s["stripes"] != nil || s["mirrors"] != nil {
			return nil, fmt.Errorf("a segment of type %q lies on disks itself, which is not known here", s["type"])
		}
		return nil, err
	}
	list, _ := s["stripes"].([]any) // name, first extent, name, first extent, ...
	n := int64(len(list) / 2)
	if n == 0 || len(list)%2 != 0 || extents%n != 0 {
		return nil, fmt.Errorf("a segment has no stripes that make it up")
	}
	for i := 0; i < len(list); i += 2 {
		disk, named := list[i].(string)
		first, numbered := list[i+1].(int64)
		if !named || !numbered {
			return nil, fmt.Errorf("a stripe is not on a disk")
		}
		stripes = append(stripes, Stripe{Disk: disk, First: first, Extents: extents / n})
	}
	return stripes, err
}

func (s section) optional(name string) string {
	text, _ := s[name].(string)
	return text
}

func (s section) chunkBytes() int64 {
	n, _ := s["chunk_size"].(int64)
	return n * sectorBytes
}

// messages counts the sections of a thin pool's segment with what is to be sent to the kernel, and returns the numbers that
// are to be deleted.
func (s section) messages() (n int, deletes []int64) {
	for _, name := range s.names() {
		if !strings.HasPrefix(name, "message") {
			continue
		}
		n++
		message, _ := s[name].(section)
		if number, ok := message["delete"].(int64); ok {
			deletes = append(deletes, number)
		}
	}
	return n, deletes
}

// names returns the names of the sections within, in their order.
func (s section) names() []string {
	var names []string
	for name, value := range s {
		if _, ok := value.(section); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
