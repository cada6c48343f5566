package lvm

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
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

func TestADiskThatIsNotAllocatableIsNoRoom(t *testing.T) {
	g, err := vg.ParseReport([]byte(reportText))
	if err != nil {
		t.Fatal(err)
	}
	p := testPool(t, Config{VolumeGroup: "vg0"})
	if r, err := p.reportedCapacity(g); err != nil || r.free != 500 || r.total != 508 {
		t.Errorf("room is %+v, %v; the disk that is not allocatable is no room", r, err)
	}
}

func TestErrorsBecomeKinds(t *testing.T) {
	failed := &host.ExitError{Command: "lvm", Code: 5, Stderr: "insufficient free space"}
	healthy := func(change func(*vg.Report)) *vg.Report {
		g, err := vg.ParseReport([]byte(reportText))
		if err != nil {
			t.Fatal(err)
		}
		change(g)
		return g
	}
	p := testPool(t, Config{VolumeGroup: "vg0"})
	for what, c := range map[string]struct {
		err  error
		g    *vg.Report
		cost int64
		kind volume.Kind
	}{
		"killed":                   {volume.Errorf(volume.Internal, "killed"), nil, 1, volume.Internal},
		"no group":                 {failed, nil, 1, volume.Unavailable},
		"exported":                 {failed, healthy(func(g *vg.Report) { g.Exported = true }), 1, volume.Unavailable},
		"read-only":                {failed, healthy(func(g *vg.Report) { g.ReadOnly = true }), 1, volume.Unavailable},
		"a disk missing":           {failed, healthy(func(g *vg.Report) { g.Missing = 1 }), 1, volume.Unavailable},
		"too large":                {failed, healthy(func(*vg.Report) {}), 501, volume.Full},
		"no room for its text":     {failed, healthy(func(g *vg.Report) { g.Texts, g.TextFree = 60*volume.KiB, volume.KiB }), 1, volume.Full},
		"there is room":            {failed, healthy(func(*vg.Report) {}), 500, volume.Internal},
		"text without an exit":     {errors.New("insufficient free space"), healthy(func(*vg.Report) {}), 501, volume.Internal},
		"wrapped, and no room now": {fmt.Errorf("create: %w", failed), healthy(func(g *vg.Report) { g.Disks[0].Free = 0 }), 1, volume.Full},
	} {
		if err := p.explain(c.err, c.g, c.cost); !volume.Is(err, c.kind) || !strings.Contains(err.Error(), c.err.Error()) && c.kind != volume.Full {
			t.Errorf("%s: %v is %s, want %s", what, err, volume.KindOf(err), c.kind)
		}
	}
}

func TestExtentsAreCounted(t *testing.T) {
	p := testPool(t, Config{VolumeGroup: "vg0", Type: RAID1})
	on := func(ranges ...vg.Range) []vg.Segment { return []vg.Segment{{Ranges: ranges}} }
	g := &vg.Layout{LVs: []vg.LV{
		{Name: "w_rimage_0", Hidden: true, Segments: on(vg.Range{Disk: "/dev/vda", First: 0, Last: 3}, vg.Range{Disk: "/dev/vda", First: 8, Last: 8})}, {Name: "w_rimage_1", Hidden: true, Segments: on(vg.Range{Disk: "/dev/vdb", First: 1, Last: 5})},
		{Name: "w_rmeta_0", Hidden: true, Segments: on(vg.Range{Disk: "/dev/vda", First: 4, Last: 4})}, {Name: "w", Segments: on()}, {Name: "wx", Segments: on(vg.Range{Disk: "/dev/vda", First: 9, Last: 9})},
	}}
	if n := vg.Extents(p.extentsOf(g, "w")); n != 10 {
		t.Errorf("the images have %d extents, want 10", n)
	}
}
