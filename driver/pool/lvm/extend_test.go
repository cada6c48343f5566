package lvm

import (
	"slices"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm/vg/vgtest"
)

// A report that shows a thin pool nearly full has what is due of it extended, and what cannot be is said.
func TestAThinPoolIsExtended(t *testing.T) {
	row := func(data, metadata string) string {
		return `{"lv_name":"tp","lv_size":"10485760","lv_attr":"twi-aotz--","lv_tags":"","data_percent":"` + data + `","metadata_percent":"` + metadata + `","lv_metadata_size":"4194304"}`
	}
	for what, c := range map[string]struct {
		data, metadata string
		fails          bool
		want           []string
	}{
		"neither":  {"79.99", "10.00", false, nil},
		"data":     {"80.00", "10.00", false, []string{"--size +3145728b"}},
		"metadata": {"10.00", "85.00", false, []string{"--poolmetadatasize +1048576b"}},
		"both":     {"99.00", "99.00", false, []string{"--size +3145728b", "--poolmetadatasize +1048576b"}},
		"no room":  {"90.00", "10.00", true, []string{"--size +3145728b"}},
	} {
		f := &vgtest.LVM{Disks: []string{"/dev/vda"}, LVs: []string{row(c.data, c.metadata)}}
		var got []string
		f.Change = func(f *vgtest.LVM, args []string) error {
			if i := slices.Index(args, "lvextend"); i == 0 {
				got = append(got, strings.Join(args[len(args)-3:len(args)-1], " "))
			}
			if c.fails {
				return failed5
			}
			if len(got) == len(c.want) {
				f.LVs = []string{row("50.00", "50.00")}
			}
			return nil
		}
		p, err := newPool("fast", "n1", Config{VolumeGroup: "vg0", ThinPool: "tp", ExtendAt: 80, ExtendBy: 25}, host.New(f), f)
		if err != nil {
			t.Fatal(err)
		}
		p.vg.Disks.Flush = func(string) error { return nil }
		p.watch(t.Context())
		if _, err := p.vg.Report(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, func() bool { f.Lock(); defer f.Unlock(); return len(got) >= len(c.want) })
		until(t, func() bool { return (p.extensionTrouble() != "") == c.fails })
		p.unwatch()
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
		if c.fails {
			f.LVs[0] += `,{"lv_name":"loam.fast.v.a","lv_size":"20971520","lv_attr":"Vwi-aotz--","lv_tags":"loam.storage/volume=n1/fast/a","pool_lv":"tp"}`
			if s, err := p.Status(t.Context()); err != nil || s.Healthy || !strings.Contains(s.Message, "extend the data") {
				t.Errorf("%s: Status answered %+v, %v", what, s, err)
			}
		}
	}
}
