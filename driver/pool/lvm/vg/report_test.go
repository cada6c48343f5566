package vg

import (
	"strings"
	"testing"

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
	g, err := ParseReport([]byte(reportText))
	if err != nil {
		t.Fatal(err)
	}
	if g.Extent != volume.MiB || len(g.Disks) != 2 || g.Disks[0].Free != 500 || g.Disks[1].Allocatable || len(g.LVs) != 2 || g.LVs[1].Chunk != 64*volume.KiB {
		t.Errorf("the report reads %+v", g)
	}
	if tp, ok := g.Find("tp"); !ok || tp.Type != TypeThinPool || g.States["tp"].Data != 12.5 || !tp.Zeroes || !g.States["tp"].Active || tp.MetadataSize != 4*volume.MiB {
		t.Errorf("the thin pool reads %+v", tp)
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
		if _, err := ParseReport([]byte(text)); !volume.Is(err, volume.Internal) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzReport(f *testing.F) {
	f.Add([]byte(reportText))
	f.Add([]byte(`{"report":[{"vg":[{}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		g, err := ParseReport(text)
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
			_, _ = l.IsPart(), l.Whole()
		}
	})
}

func TestRangesAreRead(t *testing.T) {
	if r, ok := parseRange("/dev/a:5-9"); !ok || r != (Range{"/dev/a", 5, 9}) || r.String() != "/dev/a:5-9" {
		t.Errorf("a range reads %v, %t", r, ok)
	}
	for _, text := range []string{"", "x", "/dev/a:1", "/dev/a:5-4", "/dev/a:b-c", "w_rimage_0:0-4"} {
		if r, ok := parseRange(text); ok {
			t.Errorf("%q is read as the range %v", text, r)
		}
	}
}
