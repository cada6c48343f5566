package lvm

import (
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

func TestWhoseALogicalVolumeIs(t *testing.T) {
	p := testPool(t, Config{VolumeGroup: "vg0"})
	id := volume.ID{Node: "n1", Pool: "fast", Name: "a"}
	const tag, own = "loam.storage/volume=n1/fast/a", "loam.fast.v.a"
	of := func(name string, tags ...string) vg.LV { return vg.LV{Name: name, Tags: tags} }
	hidden := func(name string, tags ...string) vg.LV { return vg.LV{Name: name, Hidden: true, Tags: tags} }
	for what, c := range map[string]struct {
		lvs  []vg.LV
		ok   bool
		kind volume.Kind // where there is an error
		says string
	}{
		"none":                   {nil, false, 0, ""},
		"its own":                {[]vg.LV{of("other"), of(own, tag)}, true, 0, ""},
		"without tags":           {[]vg.LV{of(own)}, false, 0, ""},
		"with tags of others":    {[]vg.LV{of(own, "theirs")}, false, 0, ""},
		"another node's":         {[]vg.LV{of(own, "loam.storage/volume=n2/fast/a")}, false, 0, ""},
		"renamed":                {[]vg.LV{of("other", tag)}, false, volume.InUse, "lvrename vg0 other " + own},
		"renamed, and its name":  {[]vg.LV{of(own), of("other", tag)}, false, volume.InUse, "lvrename vg0 other " + own},
		"two":                    {[]vg.LV{of("other", tag), of(own, tag)}, false, volume.InUse, `"other" and "` + own + `"`},
		"parts of a RAID volume": {[]vg.LV{of(own, tag), hidden(own+"_rmeta_0", tag), of(own+"_rmeta_1", tag)}, true, 0, ""},
		"without its tag":        {[]vg.LV{of(own, tagReady)}, false, volume.InUse, "lvchange --addtag " + tag + " vg0/" + own},
		"tags that are one text": {[]vg.LV{of(own, tag+";"+tagReady)}, false, volume.InUse, own},
	} {
		l, ok, err := p.volumeIn(&vg.Layout{Name: "vg0", LVs: c.lvs}, id)
		if ok != c.ok || (ok && l.Name != own) || (err != nil) != (c.says != "") {
			t.Errorf("%s: %+v, %t, %v", what, l, ok, err)
		}
		if err != nil && (!volume.Is(err, c.kind) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, l := range map[string]vg.LV{"lost": of(own, tagReady), "damaged": of(own, tag+";"+tagReady)} {
		found := p.listed(&vg.Layout{LVs: []vg.LV{l}}, tagVolume, "", 0)
		if len(found) != 1 || found[0].name != "a" || !strings.Contains(found[0].damage, "lvchange --addtag "+tag+" vg0/"+own) {
			t.Errorf("a list with one whose tag is %s: %+v", what, found)
		}
		if found := p.listed(&vg.Layout{LVs: []vg.LV{l}}, tagSnapshot, "", 0); len(found) != 0 {
			t.Errorf("a list of snapshots with a volume whose tag is %s: %+v", what, found)
		}
	}
	for what, l := range map[string]vg.LV{"another node's": of(own, "loam.storage/volume=n2/fast/a"), "half made": of(own, tagMaking), "another pool's": of("loam.slow.v.a", tagReady), "no name of ours": of("own", tagReady), "without tags": of(own)} {
		if found := p.listed(&vg.Layout{LVs: []vg.LV{l}}, tagVolume, "", 0); len(found) != 0 {
			t.Errorf("a list with one that is %s: %+v", what, found)
		}
	}
	found := p.listed(&vg.Layout{LVs: []vg.LV{of("other", tag), of(own, tag), hidden(own+"_rmeta_0", tag)}}, tagVolume, "", 0)
	if len(found) != 1 || found[0].LV.Name != own {
		t.Errorf("a list with two of one ID: %+v", found)
	}
}

// Names may be longer than others and begin like them.
func TestWhatAPartIsAPartOf(t *testing.T) {
	for name, whole := range map[string]string{
		"loam.fast.v.a_rimage_0": "loam.fast.v.a", "loam.fast.v.a_b_rimage_0_imeta": "loam.fast.v.a_b", "tp_tdata_corig": "tp", "loam.fast.v.a_wcorig": "loam.fast.v.a",
	} {
		l := vg.LV{Name: name, Hidden: true}
		if !l.IsPartOf(whole) || l.IsPartOf("loam.fast.v") || (whole != "loam.fast.v.a" && l.IsPartOf("loam.fast.v.a")) {
			t.Errorf("%s is a part of %s, not of %s", name, l.Whole(), whole)
		}
	}
	if (vg.LV{Name: "loam.fast.v.a"}).IsPartOf("loam.fast.v.a") {
		t.Error("a volume is no part of itself")
	}
}
