package lvm

import (
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/config"
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
		total, largest := s.room(c.free)
		if total != c.total || largest != c.largest || s.bytes(largest, 1) != c.largestBytes {
			t.Errorf("%s of %v: %d and %d extents, %d bytes; want %d, %d, %d", what, c.free, total, largest, s.bytes(largest, 1), c.total, c.largest, c.largestBytes)
		}
		if cost := s.cost(c.largestBytes, 1); c.largestBytes > 0 && cost != largest {
			t.Errorf("%s: the largest volume takes %d extents of %d", what, cost, largest)
		}
	}
}

func TestThinCapacityCountsDataAndMetadata(t *testing.T) {
	base := func() *group {
		return &group{name: "vg0", extent: volume.MiB, attr: "wz--n-",
			segments: []segment{{lv: "tp", chunk: 64 * volume.KiB}},
			lvs: []lv{
				{name: "tp", size: volume.GiB, metaBytes: 4 * volume.MiB, attr: "twi-a-tz--"},
				{name: "loam.fast.v.a", size: 100 * volume.MiB, pool: "tp", tags: []string{"loam.storage/volume=n1/fast/a"}},
				{name: "theirs", size: 24 * volume.MiB, pool: "tp"},
			}}
	}
	for what, c := range map[string]struct {
		config  Config
		change  func(*group)
		free    volume.Size
		trouble string
	}{
		"as it is":                        {Config{}, func(*group) {}, 900 * volume.MiB, ""},
		"with a reserve":                  {Config{Space: config.Space{ReserveBytes: 100 * volume.MiB}}, func(*group) {}, 800 * volume.MiB, ""},
		"overprovisioned":                 {Config{Space: config.Space{Overprovision: 2}}, func(*group) {}, 1924 * volume.MiB, ""},
		"little metadata":                 {Config{}, func(g *group) { g.lvs[0].metaBytes = metadataBytes + 52*1024 }, 0, ""},
		"metadata is not overprovisioned": {Config{Space: config.Space{Overprovision: 9}}, func(g *group) { g.lvs[0].metaBytes = metadataBytes + 52*16384 }, 900 * volume.MiB, ""},
		"full of data":                    {Config{Space: config.Space{Overprovision: 2}}, func(g *group) { g.lvs[0].data = 95; g.lvs[1].size = volume.GiB }, 0, "data"},
		"full, all promised":              {Config{}, func(g *group) { g.lvs[0].data = 95 }, 900 * volume.MiB, ""},
		"full of metadata":                {Config{}, func(g *group) { g.lvs[0].metadata = 95 }, 0, "metadata"},
		"needs a check":                   {Config{}, func(g *group) { g.lvs[0].health = "failed" }, 0, "failed"},
		"a disk lost":                     {Config{}, func(g *group) { g.missing = 1 }, 0, "disks"},
	} {
		c.config.VolumeGroup, c.config.ThinPool = "vg0", "tp"
		g := base()
		c.change(g)
		r, err := testPool(t, c.config).room(g)
		if err != nil || volume.Size(r.free) != c.free || volume.Size(r.largest) != c.free || (c.trouble == "") != (r.trouble == "") || !strings.Contains(r.trouble, c.trouble) {
			t.Errorf("%s: %+v, %v; want %d free", what, r, err, c.free)
		}
	}
}
