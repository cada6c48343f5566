package lvm

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

const reportText = `{"report": [{
 "vg": [{"vg_name":"vg0", "vg_extent_size":"1048576", "vg_attr":"wz--n-", "vg_missing_pv_count":"0"}],
 "pv": [{"pv_name":"/dev/vda", "pv_attr":"a--", "pv_pe_count":"511", "pv_pe_alloc_count":"11"},
        {"pv_name":"/dev/vdb", "pv_attr":"---", "pv_pe_count":"511", "pv_pe_alloc_count":"0"}],
 "lv": [{"lv_name":"loam.fast.v.a", "lv_size":"8388608", "lv_attr":"-wi-------", "lv_tags":"loam.storage/volume=n1/fast/a,x", "pool_lv":"", "origin":"", "data_percent":"", "metadata_percent":"", "lv_health_status":"", "lv_metadata_size":""},
        {"lv_name":"tp", "lv_size":"67108864", "lv_attr":"twi-a-tz--", "lv_tags":"", "pool_lv":"", "origin":"", "data_percent":"12.50", "metadata_percent":"11.72", "lv_health_status":"", "lv_metadata_size":"4194304"}],
 "pvseg": [{"pvseg_start":"0"}],
 "seg": [{"lv_name":"tp", "chunk_size":"65536", "seg_pe_ranges":"tp_tdata:0-63"}]
}]}`

func TestReportsAreRead(t *testing.T) {
	g, err := parseReport([]byte(reportText))
	if err != nil {
		t.Fatal(err)
	}
	if g.Extent != volume.MiB || len(g.Disks) != 2 || g.Disks[0].Free != 500 || g.Disks[1].Allocatable || len(g.LVs) != 2 || g.LVs[1].Chunk != 64*volume.KiB {
		t.Errorf("the report reads %+v", g)
	}
	if tp, ok := g.Find("tp"); !ok || tp.Type != ThinPool || g.States["tp"].Data != 12.5 || !tp.Zeroes || !g.States["tp"].Active || tp.MetadataSize != 4*volume.MiB {
		t.Errorf("the thin pool reads %+v", tp)
	}
	p := testPool(t, Config{VolumeGroup: "vg0"})
	if r, err := p.reportedRoom(g); err != nil || r.free != 500 || r.total != 508 {
		t.Errorf("room is %+v, %v; the disk that is not allocatable is no room", r, err)
	}
	for what, text := range map[string]string{
		"nothing":           "",
		"no report":         `{"report":[]}`,
		"no group":          `{"report":[{"vg":[]}]}`,
		"a missing field":   strings.Replace(reportText, `"vg_extent_size":"1048576", `, "", 1),
		"a negative size":   strings.Replace(reportText, `"8388608"`, `"-1"`, 1),
		"no number":         strings.Replace(reportText, `"511"`, `"many"`, 1),
		"a percentage of 1": strings.Replace(reportText, `"12.50"`, `"101"`, 1),
	} {
		if _, err := parseReport([]byte(text)); !volume.Is(err, volume.Internal) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzReport(f *testing.F) {
	f.Add([]byte(reportText))
	f.Add([]byte(`{"report":[{"vg":[{}]}]}`))
	p, err := newPool("fast", "n1", Config{VolumeGroup: "vg0"}, nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		g, err := parseReport(text)
		if err != nil {
			if !volume.Is(err, volume.Internal) {
				t.Fatal(err)
			}
			return
		}
		if g.Extent <= 0 || g.Name == "" {
			t.Fatalf("%+v", g)
		}
		for _, l := range g.LVs {
			_ = p.ours(l)
		}
	})
}

func TestErrorsBecomeKinds(t *testing.T) {
	failed := &host.ExitError{Command: "lvm", Code: 5, Stderr: "insufficient free space"}
	healthy := func(change func(*Report)) *Report {
		g, err := parseReport([]byte(reportText))
		if err != nil {
			t.Fatal(err)
		}
		change(g)
		return g
	}
	p := testPool(t, Config{VolumeGroup: "vg0"})
	for what, c := range map[string]struct {
		err  error
		g    *Report
		cost int64
		kind volume.Kind
	}{
		"killed":                   {volume.Errorf(volume.Internal, "killed"), nil, 1, volume.Internal},
		"no group":                 {failed, nil, 1, volume.Unavailable},
		"exported":                 {failed, healthy(func(g *Report) { g.Exported = true }), 1, volume.Unavailable},
		"read-only":                {failed, healthy(func(g *Report) { g.ReadOnly = true }), 1, volume.Unavailable},
		"a disk missing":           {failed, healthy(func(g *Report) { g.Missing = 1 }), 1, volume.Unavailable},
		"too large":                {failed, healthy(func(*Report) {}), 501, volume.Full},
		"no room for its text":     {failed, healthy(func(g *Report) { g.Texts, g.TextFree = 60*volume.KiB, volume.KiB }), 1, volume.Full},
		"there is room":            {failed, healthy(func(*Report) {}), 500, volume.Internal},
		"text without an exit":     {errors.New("insufficient free space"), healthy(func(*Report) {}), 501, volume.Internal},
		"wrapped, and no room now": {fmt.Errorf("create: %w", failed), healthy(func(g *Report) { g.Disks[0].Free = 0 }), 1, volume.Full},
	} {
		if err := p.explain(c.err, c.g, c.cost); !volume.Is(err, c.kind) || !strings.Contains(err.Error(), c.err.Error()) && c.kind != volume.Full {
			t.Errorf("%s: %v is %s, want %s", what, err, volume.KindOf(err), c.kind)
		}
	}
}

func TestExtentsAreCounted(t *testing.T) {
	p := testPool(t, Config{VolumeGroup: "vg0", Type: RAID1})
	on := func(ranges ...Range) []Segment { return []Segment{{Ranges: ranges}} }
	g := &Layout{LVs: []LV{
		{Name: "w_rimage_0", Hidden: true, Segments: on(Range{"/dev/vda", 0, 3}, Range{"/dev/vda", 8, 8})}, {Name: "w_rimage_1", Hidden: true, Segments: on(Range{"/dev/vdb", 1, 5})},
		{Name: "w_rmeta_0", Hidden: true, Segments: on(Range{"/dev/vda", 4, 4})}, {Name: "w", Segments: on()}, {Name: "wx", Segments: on(Range{"/dev/vda", 9, 9})},
	}}
	if n := countExtents(p.extentsOf(g, "w")); n != 10 {
		t.Errorf("the images have %d extents, want 10", n)
	}
	if r, ok := parseRange("/dev/a:5-9"); !ok || r != (Range{"/dev/a", 5, 9}) || r.String() != "/dev/a:5-9" {
		t.Errorf("a range reads %v, %t", r, ok)
	}
	for _, text := range []string{"", "x", "/dev/a:1", "/dev/a:5-4", "/dev/a:b-c", "w_rimage_0:0-4"} {
		if r, ok := parseRange(text); ok {
			t.Errorf("%q is read as the range %v", text, r)
		}
	}
}
