package lvm

import (
	"strings"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

func TestWhatIsLostOfTheTagsIsSaid(t *testing.T) {
	p := testPool(t, Config{VolumeGroup: "vg0"})
	v, s := volume.ID{Node: "n1", Pool: "fast", Name: "a"}, volume.ID{Node: "n1", Pool: "fast", Name: "s"}
	long := volume.Spec{ID: v, Parameters: volume.Parameters{MkfsOptions: strings.Repeat("x", 2000)}} // of several pieces
	record, err := recordTags(long.Record())
	if err != nil || len(record) < 3 {
		t.Fatalf("%q, %v", record, err)
	}
	ofSnapshot, err := recordTags(volume.SnapshotRecord(volume.Volume{ID: v}, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	of := func(name string, size volume.Size, tags ...[]string) vg.LV {
		l := vg.LV{Name: name, Size: size}
		if !strings.Contains(name, ".v.") { // else it would count as half made
			l.Type = vg.TypeCOW
		}
		for _, more := range tags {
			l.Tags = append(l.Tags, more...)
		}
		return l
	}
	own, isVolume, isSnapshot := "loam.fast.v.a", []string{tagVolume + v.String()}, []string{tagSnapshot + s.String()}
	ready := []string{tagReady}
	for what, c := range map[string]struct {
		l    vg.LV
		says string
	}{
		"whole":                       {of(own, 8, isVolume, record, ready), ""},
		"without a mark":              {of(own, 8, isVolume, record, ready), ""},
		"not wiped yet":               {of(own, 8, isVolume, record, []string{wipedTag(0)}), ""},
		"without a record":            {of(own, 8, isVolume, ready), "loam.storage/record.* of logical volume vg0/" + own},
		"without a piece":             {of(own, 8, isVolume, record[:1], record[2:], ready), "is damaged"},
		"without the last piece":      {of(own, 8, isVolume, record[:len(record)-1], ready), "is damaged"},
		"record that is no base64":    {of(own, 8, isVolume, []string{tagRecord + "0=.."}, ready), "is damaged"},
		"neither ready nor wiped":     {of(own, 8, isVolume, record), "has no tag loam.storage/ready either"},
		"wiped beyond its end":        {of(own, 8, isVolume, record, []string{wipedTag(9)}), "has no tag loam.storage/ready either"},
		"readyTo that is no number":   {of(own, 8, isVolume, record, ready, []string{tagReadyTo + "x"}), "put back what it said"},
		"snapshot":                    {of("loam.fast.s.s", 8, isSnapshot, ofSnapshot, ready), ""},
		"snapshot in a group":         {of("loam.fast.g.s", 8, isSnapshot, ofSnapshot, ready, []string{tagGroup + "g"}), ""},
		"member without its group":    {of("loam.fast.g.s", 8, isSnapshot, ofSnapshot, ready), "is a member of a group"},
		"snapshot without its volume": {of("loam.fast.s.s", 8, isSnapshot, record, ready), "what it was taken of"},
	} {
		if says := p.damageOf(c.l); (says == "") != (c.says == "") || !strings.Contains(says, c.says) {
			t.Errorf("%s: %q, want %q", what, says, c.says)
		}
		g := &vg.Layout{Name: "vg0", LVs: []vg.LV{c.l}}
		if err := p.intact(g, c.l); (err != nil) != (c.says != "") || (err != nil && !volume.Is(err, volume.InUse)) {
			t.Errorf("%s: %v", what, err)
		}
		if says := p.damageIn(g); (says == "") != (c.says == "") {
			t.Errorf("%s: of the group it says %q", what, says)
		}
	}
	two := &vg.Layout{Name: "vg0", LVs: []vg.LV{of(own, 8, isVolume, ready), of("loam.fast.v.b", 8, ready, record)}}
	if says := p.damageIn(two); !strings.HasPrefix(says, `2 volumes or snapshots are damaged: volume "n1/fast/a" is damaged: `) {
		t.Errorf("of two: %q", says)
	}
}
