package vg

import (
	"testing"

	"github.com/loam-storage/loam/driver/pool/lvm/vg/vgtest"
	"github.com/loam-storage/loam/driver/volume"
)

func TestSelectionsAreWritten(t *testing.T) {
	for want, s := range map[string]Select{
		`vg_name="vg0" && lv_name="a"`:                                                  Only("a"),
		`vg_name="vg0" && lv_name="a" && lv_tags="x" && lv_tags="y"`:                    Only("a", "x", "y"),
		`vg_name="vg0" && (lv_name="a" || lv_name="b") && lv_tags="x"`:                  {Names: []string{"a", "b"}, Tags: []string{"x"}},
		`vg_name="vg0" && lv_name=~"^a[.]" && (lv_tags="x" || lv_tags="y")`:             {Like: "^a[.]", Any: []string{"x", "y"}},
		`vg_name="vg0" && lv_name="a" && lv_tags!="x" && vg_tags="y" && lv_attr=~"^.r"`: {Names: []string{"a"}, Not: "x", Group: "y", Is: ReadOnly},
		`vg_name="vg0" && lv_name="a" && lv_attr=~"^.w"`:                                {Names: []string{"a"}, Is: Writable},
		`vg_name="vg0" && lv_name="a" && lv_tags="x" && lv_attr!~"^[oO]"`:               {Names: []string{"a"}, Tags: []string{"x"}, Is: WithoutSnapshots},
	} {
		if got := s.text("vg0"); got != want {
			t.Errorf("%+v is %s, want %s", s, got, want)
		}
	}
}

// What destroys names the tag that it relies on, so that LVM looks whether it is there.
func TestWhatRemovesReliesOnATag(t *testing.T) {
	f := &vgtest.LVM{Disks: []string{"/dev/vda"}, Change: func(*vgtest.LVM, []string) error { return nil }}
	v := fakeGroup(t, f, Options{})
	for _, c := range []Command{{Name: "lvremove", Of: "a"}, Remove(Only("a")), Remove(Select{Names: []string{"a"}, Not: "x"})} {
		if err := v.Change(t.Context(), c); !volume.Is(err, volume.Internal) || len(f.Commands) != 0 {
			t.Errorf("%+v: %v after %v", c, err, f.Names())
		}
	}
	for _, s := range []Select{Only("a", "x"), {Names: []string{"a"}, Group: "x"}, {Names: []string{"a"}, Any: []string{"x"}}} {
		if err := v.Change(t.Context(), Remove(s)); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
}
