package metadata

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The sample has a volume with a copy-on-write snapshot, a striped one that has grown, a RAID 1, and a thin pool with a
// volume and a snapshot.
func TestAGroupIsRead(t *testing.T) {
	top, err := parse([]byte(sample(t)))
	if err != nil {
		t.Fatal(err)
	}
	g, err := volumeGroup(top)
	if err != nil {
		t.Fatal(err)
	}
	if g.Name != "vg0" || g.SeqNo != 15 || g.ExtentBytes != 1<<20 || len(g.Disks) != 2 || len(g.LVs) != 15 {
		t.Errorf("the group is %s, number %d, with extents of %d, %d disks and %d logical volumes", g.Name, g.SeqNo, g.ExtentBytes, len(g.Disks), len(g.LVs))
	}
	for i, want := range []PhysicalVolume{
		{Name: "pv0", ID: sampleDisks[0], Allocatable: true, StartBytes: 1 << 20, Extents: 1023, Allocated: 76},
		{Name: "pv1", ID: sampleDisks[1], Allocatable: true, StartBytes: 1 << 20, Extents: 1023, Allocated: 19},
	} {
		if g.Disks[i] != want {
			t.Errorf("disk %d is %+v, want %+v", i, g.Disks[i], want)
		}
	}
	for name, want := range map[string]string{
		"loam.fast.v.a":   `visible true, writable true, 8 extents, ["loam.storage/volume=n1/fast/a"], [{Type:striped Origin: External: COWStore: Merging:false ThinPool: Metadata: ChunkBytes:0 Zeroes:false ThinID:0 TransactionID:0 Messages:0 Deletes:[] Stripes:[{Disk:pv0 First:0 Extents:8}]}]`,
		"loam.fast.s.s":   `visible false, writable false, 9 extents, ["snap"], [{Type:striped Origin: External: COWStore: Merging:false ThinPool: Metadata: ChunkBytes:0 Zeroes:false ThinID:0 TransactionID:0 Messages:0 Deletes:[] Stripes:[{Disk:pv0 First:8 Extents:9}]}]`,
		"snapshot0":       `visible true, writable true, 8 extents, [], [{Type:snapshot Origin:loam.fast.v.a External: COWStore:loam.fast.s.s Merging:false ThinPool: Metadata: ChunkBytes:4096 Zeroes:false ThinID:0 TransactionID:0 Messages:0 Deletes:[] Stripes:[]}]`,
		"striped":         `visible true, writable true, 12 extents, [], [{Type:striped Origin: External: COWStore: Merging:false ThinPool: Metadata: ChunkBytes:0 Zeroes:false ThinID:0 TransactionID:0 Messages:0 Deletes:[] Stripes:[{Disk:pv0 First:17 Extents:4} {Disk:pv1 First:0 Extents:4}]} {Type:striped Origin: External: COWStore: Merging:false ThinPool: Metadata: ChunkBytes:0 Zeroes:false ThinID:0 TransactionID:0 Messages:0 Deletes:[] Stripes:[{Disk:pv0 First:74 Extents:2} {Disk:pv1 First:17 Extents:2}]}]`,
		"mirror":          `visible true, writable true, 4 extents, [], [{Type:raid1 Origin: External: COWStore: Merging:false ThinPool: Metadata: ChunkBytes:0 Zeroes:false ThinID:0 TransactionID:0 Messages:0 Deletes:[] Stripes:[]}]`,
		"mirror_rimage_1": `visible false, writable true, 4 extents, [], [{Type:striped Origin: External: COWStore: Merging:false ThinPool: Metadata: ChunkBytes:0 Zeroes:false ThinID:0 TransactionID:0 Messages:0 Deletes:[] Stripes:[{Disk:pv1 First:5 Extents:4}]}]`,
		"tp":              `visible true, writable true, 40 extents, [], [{Type:thin-pool Origin: External: COWStore: Merging:false ThinPool: Metadata:tp_tmeta ChunkBytes:65536 Zeroes:true ThinID:0 TransactionID:2 Messages:0 Deletes:[] Stripes:[]}]`,
		"loam.thin.v.b":   `visible true, writable true, 16 extents, [], [{Type:thin Origin: External: COWStore: Merging:false ThinPool:tp Metadata: ChunkBytes:0 Zeroes:false ThinID:1 TransactionID:0 Messages:0 Deletes:[] Stripes:[]}]`,
		"loam.thin.s.c":   `visible true, writable false, 16 extents, [], [{Type:thin Origin:loam.thin.v.b External: COWStore: Merging:false ThinPool:tp Metadata: ChunkBytes:0 Zeroes:false ThinID:2 TransactionID:0 Messages:0 Deletes:[] Stripes:[]}]`,
	} {
		i := slices.IndexFunc(g.LVs, func(l LogicalVolume) bool { return l.Name == name })
		if i < 0 {
			t.Errorf("%s is missing", name)
			continue
		}
		l := g.LVs[i]
		if got := fmt.Sprintf("visible %t, writable %t, %d extents, %q, %+v", l.Visible, l.Writable, l.Extents, l.Tags, l.Segments); got != want {
			t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
		}
	}
}

// What LVM has noted to tell a thin pool, and has not told it yet, is in the pool's segment.
func TestMessagesToAThinPoolAreCounted(t *testing.T) {
	noted := strings.Replace(sample(t), "zero_new_blocks = 1", "zero_new_blocks = 1\nmessage1 {\ndelete = 2\n}\nmessage2 {\ncreate = \"loam.thin.v.b\"\n}", 1)
	top, err := parse([]byte(noted))
	if err != nil {
		t.Fatal(err)
	}
	g, err := volumeGroup(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range g.LVs {
		want := 0
		if l.Name == "tp" {
			want = 2
		}
		got := l.Segments[0]
		if got.Messages != want || (want > 0) != slices.Equal(got.Deletes, []int64{2}) {
			t.Errorf("%s has %d messages that delete %v, want %d", l.Name, got.Messages, got.Deletes, want)
		}
	}
}

// While a snapshot is merged, or is to be, the metadata name it otherwise.
func TestMergesAreRead(t *testing.T) {
	text := strings.Replace(sample(t), `cow_store = "loam.fast.s.s"`, `merging_store = "loam.fast.s.s"`, 1)
	text = strings.Replace(text, `origin = "loam.thin.v.b"`, "origin = \"loam.thin.v.b\"\nmerge = \"loam.thin.v.b\"", 1)
	top, err := parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	g, err := volumeGroup(top)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, l := range g.LVs {
		if l.Segments[0].Merging {
			found[l.Name] = l.Segments[0].COWStore + " into " + l.Segments[0].Origin
		}
	}
	if fmt.Sprint(found) != "map[loam.thin.s.c: into loam.thin.v.b snapshot0:loam.fast.s.s into loam.fast.v.a]" {
		t.Errorf("merging are %v", found)
	}
}

// Flags behind the type of a segment, which keep earlier versions of LVM from it, do not make it another one; and who may use a
// group is read.
func TestFlagsAndOwnersAreRead(t *testing.T) {
	text := strings.Replace(sample(t), `type = "thin-pool"`, `type = "thin-pool+CROP_METADATA"`, 1)
	text = strings.Replace(text, "extent_size =", "system_id = \"other\"\nlock_type = \"sanlock\"\nextent_size =", 1)
	text = strings.Replace(text, `"RESIZEABLE"`, `"RESIZEABLE", "CLUSTERED"`, 1)
	top, err := parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	g, err := volumeGroup(top)
	if err != nil {
		t.Fatal(err)
	}
	if g.SystemID != "other" || g.LockType != "sanlock" || !g.Clustered {
		t.Errorf("the group is %+v", g)
	}
	i := slices.IndexFunc(g.LVs, func(l LogicalVolume) bool { return l.Name == "tp" })
	if s := g.LVs[i].Segments[0]; s.Type != "thin-pool" || s.TransactionID == 0 {
		t.Errorf("the thin pool is %+v", s)
	}
}

func TestTextsAreRead(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "map[]",
		"# nothing\n":                        "map[]",
		`a = 1 b="x" # rest`:                 "map[a:1 b:x]",
		`a { b { c = [] } d=-7 }`:            "map[a:map[b:map[c:[]] d:-7]]",
		"l = [\n\"a, b\", 2,\n\"\\\"\\\\\"]": `map[l:[a, b 2 "\]]`,
	} {
		if got, err := parse([]byte(text)); err != nil || fmt.Sprint(map[string]any(got)) != want {
			t.Errorf("%q: %v, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"a", "a =", "a = x", `a = "x`, `a = "x\`, "a {", "a = [1", "a = [1 2]", "}", "= 1", "a = 1.5", deep} {
		if got, err := parse([]byte(text)); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

const deep = "a{a{a{a{a{a{a{a{a{a{a{a{a{a{a{a{a{a{}}}}}}}}}}}}}}}}}}"
