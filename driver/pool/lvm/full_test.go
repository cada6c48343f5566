package lvm

import (
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/pool/lvm/vg/vgtest"
	"github.com/loam-storage/loam/driver/volume"
)

// reported is a group of two disks with 100 extents of 1 MiB: a volume of 10, a snapshot of 5, 20 of others on hidden parts, and 60 in a thin pool.
const reported = `{"report": [{
 "vg": [{"vg_name":"vg0", "vg_extent_size":"1048576", "vg_attr":"wz--n-", "vg_missing_pv_count":"0"}],
 "pv": [{"pv_name":"/dev/vda", "pv_attr":"a--", "pv_pe_count":"60", "pv_pe_alloc_count":"60"}, {"pv_name":"/dev/vdb", "pv_attr":"a--", "pv_pe_count":"40", "pv_pe_alloc_count":"35"}],
 "lv": [{"lv_name":"loam.fast.v.a", "lv_size":"10485760", "lv_attr":"owi-------", "lv_tags":"loam.storage/volume=n1/fast/a"},
        {"lv_name":"loam.fast.s.s", "lv_size":"5242880", "lv_attr":"sri-------", "lv_tags":"loam.storage/snapshot=n1/fast/s", "origin":"loam.fast.v.a", "origin_size":"10485760"},
        {"lv_name":"other", "lv_size":"20971520", "lv_attr":"rwi-------", "lv_tags":""}, {"lv_name":"[other_rimage_0]", "lv_size":"20971520", "lv_attr":"iwi-------", "lv_tags":""},
        {"lv_name":"tp", "lv_size":"62914560", "lv_attr":"twi-aotz--", "lv_tags":"", "data_percent":"1", "metadata_percent":"1", "lv_metadata_size":"4194304"},
        {"lv_name":"[tp_tdata]", "lv_size":"62914560", "lv_attr":"Twi-ao----", "lv_tags":""},
        {"lv_name":"loam.fast.v.t", "lv_size":"41943040", "lv_attr":"Vwi-------", "lv_tags":"loam.storage/volume=n1/fast/t", "pool_lv":"tp"},
        {"lv_name":"theirs", "lv_size":"10485760", "lv_attr":"Vwi-------", "lv_tags":"", "pool_lv":"tp"}],
 "seg": [{"lv_name":"loam.fast.v.a", "segtype":"linear", "seg_pe_ranges":"/dev/vda:0-9"}, {"lv_name":"loam.fast.s.s", "segtype":"linear", "seg_pe_ranges":"/dev/vdb:0-4"},
         {"lv_name":"other", "segtype":"raid1", "seg_pe_ranges":"other_rimage_0:0-19"}, {"lv_name":"[other_rimage_0]", "segtype":"linear", "seg_pe_ranges":"/dev/vdb:5-24"},
         {"lv_name":"tp", "segtype":"thin-pool", "chunk_size":"65536", "seg_pe_ranges":"tp_tdata:0-59"}, {"lv_name":"[tp_tdata]", "segtype":"linear", "seg_pe_ranges":"/dev/vda:10-59 /dev/vdb:25-34"}]
}]}`

// An error for want of room says how much there is, how much was asked, and what has the rest.
func TestAFullPoolSaysWhatHasItsRoom(t *testing.T) {
	g, err := vg.ParseReport([]byte(reported))
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		config Config
		cost   int64
		says   []string
	}{
		"thick":                                 {Config{}, 30, []string{`pool "fast" is full`, `"vg0" has 100MiB`, "volumes of the pool take 10MiB", "snapshots 5MiB", "other logical volumes 80MiB", "5MiB are free", "5MiB at most", "30MiB asked"}},
		"thick with a reserve":                  {Config{Space: config.Space{ReserveBytes: 3 * volume.MiB}}, 30, []string{"5MiB are free", "keeps back 3MiB (reserve)", "2MiB at most"}},
		"a reserve of more than there is":       {Config{Space: config.Space{ReserveBytes: volume.GiB}}, 1, []string{"the reserve of 1GiB is all of the", "0B at most"}},
		"thin":                                  {Config{ThinPool: "tp"}, int64(30 * volume.MiB), []string{"thin pool vg0/tp has 60MiB and promises 60MiB", "of the pool have 40MiB", "others 10MiB", "10MiB at most", "30MiB asked"}},
		"thin with metadata that are too small": {Config{ThinPool: "tp", Space: config.Space{Overprovision: 100, ReservePercent: 10}}, int64(10 * volume.GiB), []string{"its metadata can map no more", "promise 5.9GiB", "keeps back 6.0MiB (reserve)"}},
		"thin, with a reserve of more than there is": {Config{ThinPool: "tp", Space: config.Space{ReserveBytes: volume.GiB}}, int64(volume.MiB), []string{"the reserve of 1GiB is all of the 60MiB", "make the reserve smaller"}},
	} {
		c.config.VolumeGroup = "vg0"
		p := testPool(t, c.config)
		p.reported(g)
		r, err := p.reportedCapacity(g)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		full := p.full(&g.Layout, r, c.cost)
		t.Logf("%s: %v", what, full)
		for _, part := range c.says {
			if !volume.Is(full, volume.Full) || !strings.Contains(full.Error(), part) {
				t.Errorf("%s does not say %q: %v", what, part, full)
			}
		}
		if strings.Contains(what, "reserve of more") != (r.trouble != "") {
			t.Errorf("%s: the trouble is %q", what, r.trouble)
		}
	}
}

// What cannot be read from the disks, and is asked of LVM, is counted.
func TestFallbacksAreCounted(t *testing.T) {
	p := fakePool(t, &vgtest.LVM{Disks: []string{"/dev/vda"}})
	for range 2 {
		if _, err := p.vg.Layout(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.vg.Fallbacks(); n != 2 {
		t.Errorf("%d were counted", n)
	}
}
