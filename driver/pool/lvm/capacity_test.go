package lvm

import (
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

func TestCapacityIsHonest(t *testing.T) {
	for what, c := range map[string]struct {
		config         Config
		free           []int64
		total, largest int64
		largestBytes   volume.Size
	}{
		"linear":                  {Config{}, []int64{10, 20}, 30, 30, 30},
		"striped":                 {Config{Type: Striped}, []int64{10, 20}, 10, 10, 20},
		"striped over three":      {Config{Type: Striped}, []int64{10, 10, 10}, 10, 10, 20},
		"striped, one disk":       {Config{Type: Striped}, []int64{20}, 0, 0, 0},
		"raid1":                   {Config{Type: RAID1}, []int64{10, 20}, 10, 10, 9},
		"raid1 over four":         {Config{Type: RAID1}, []int64{10, 10, 10, 10}, 20, 10, 9},
		"raid1 with three copies": {Config{Type: RAID1, Mirrors: 2}, []int64{10, 20, 5}, 5, 5, 4},
		"raid5":                   {Config{Type: RAID5}, []int64{10, 20, 30}, 10, 10, 18},
		"raid6":                   {Config{Type: RAID6}, []int64{9, 9, 9, 9, 9}, 9, 9, 24},
		"raid10":                  {Config{Type: RAID10}, []int64{9, 9, 9, 9}, 9, 9, 16},
		"a full disk":             {Config{Type: RAID1}, []int64{10, 0}, 0, 0, 0},
	} {
		s := c.config.shape()
		total, largest := s.capacity(c.free)
		if total != c.total || largest != c.largest || s.bytes(largest, 1) != c.largestBytes {
			t.Errorf("%s of %v: %d and %d extents, %d bytes; want %d, %d, %d", what, c.free, total, largest, s.bytes(largest, 1), c.total, c.largest, c.largestBytes)
		}
		if cost := s.cost(c.largestBytes, 1); c.largestBytes > 0 && cost != largest {
			t.Errorf("%s: the largest volume takes %d extents of %d", what, cost, largest)
		}
	}
}

func TestThinCapacityCountsDataAndMetadata(t *testing.T) {
	base := func() *vg.Report {
		return &vg.Report{States: map[string]vg.State{"tp": {Active: true}}, Layout: vg.Layout{Name: "vg0", Extent: volume.MiB,
			LVs: []vg.LV{
				{Name: "tp", Size: volume.GiB, Type: vg.TypeThinPool, ThinData: vg.ThinData{MetadataSize: 4 * volume.MiB, Chunk: 64 * volume.KiB, Zeroes: true}},
				{Name: "loam.fast.v.a", Size: 100 * volume.MiB, Pool: "tp", Tags: []string{"loam.storage/volume=n1/fast/a"}},
				{Name: "theirs", Size: 24 * volume.MiB, Pool: "tp"},
			}}}
	}
	for what, c := range map[string]struct {
		config  Config
		change  func(*vg.Report)
		free    volume.Size
		trouble string
	}{
		"as it is":                        {Config{}, func(*vg.Report) {}, 900 * volume.MiB, ""},
		"with a reserve":                  {Config{Space: config.Space{ReserveBytes: 100 * volume.MiB}}, func(*vg.Report) {}, 800 * volume.MiB, ""},
		"overprovisioned":                 {Config{Space: config.Space{Overprovision: 2}}, func(*vg.Report) {}, 1924 * volume.MiB, ""},
		"little metadata":                 {Config{}, func(g *vg.Report) { g.LVs[0].MetadataSize = metadataBytes + 52*1024 }, 0, ""},
		"metadata is not overprovisioned": {Config{Space: config.Space{Overprovision: 9}}, func(g *vg.Report) { g.LVs[0].MetadataSize = metadataBytes + 52*16384 }, 900 * volume.MiB, ""},
		"full of data":                    {Config{Space: config.Space{Overprovision: 2}}, func(g *vg.Report) { g.States["tp"] = vg.State{Active: true, Data: 95}; g.LVs[1].Size = volume.GiB }, 0, "data"},
		"full, all promised":              {Config{}, func(g *vg.Report) { g.States["tp"] = vg.State{Active: true, Data: 95} }, 900 * volume.MiB, ""},
		"full of metadata":                {Config{}, func(g *vg.Report) { g.States["tp"] = vg.State{Active: true, Metadata: 95} }, 0, "metadata"},
		"needs a check":                   {Config{}, func(g *vg.Report) { g.States["tp"] = vg.State{Active: true, Health: "failed"} }, 0, "failed"},
		"a disk lost":                     {Config{}, func(g *vg.Report) { g.Missing = 1 }, 0, "disks"},
	} {
		c.config.VolumeGroup, c.config.ThinPool = "vg0", "tp"
		g := base()
		c.change(g)
		r, err := testPool(t, c.config).reportedCapacity(g)
		if err != nil || volume.Size(r.free) != c.free || volume.Size(r.largest) != c.free || (c.trouble == "") != (r.trouble == "") || !strings.Contains(r.trouble, c.trouble) {
			t.Errorf("%s: %+v, %v; want %d free", what, r, err, c.free)
		}
	}
}
