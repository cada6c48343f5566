package lvm

import (
	"regexp"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

func testPool(t *testing.T, c Config) *Pool {
	t.Helper()
	p, err := newPool("fast", "n1", c, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.extent.Store(int64(volume.MiB))
	return p
}

// legalName is what lvm(8) says of names, VALID NAMES.
var legalName = regexp.MustCompile(`^[a-zA-Z0-9+_.][a-zA-Z0-9+_.-]*$`)

func TestNamesAreLegalAndApart(t *testing.T) {
	p := testPool(t, Config{VolumeGroup: "vg-0"})
	seen := map[string]string{}
	names := []string{"a", "A", "a.b_c-d", "snapshot", "snapshot1", "pvmove0", "..", "a_tdata", "x_rimage_0", "a_pmspare", "_mlog", strings.Repeat("x", 48), strings.Repeat("-", 47) + "a",
		strings.Repeat("-", 46) + "ab"}
	for _, name := range names {
		for _, what := range []string{forVolume, forSnapshot, forMember, forSpare} {
			lv := p.lvName(what, name)
			if other, twice := seen[lv]; twice {
				t.Errorf("%s of %q and %q have the name %q", what, name, other, lv)
			}
			seen[lv] = name
			if !legalName.MatchString(lv) || len(vg.MappedName("vg-0", lv))+suffixBytes > maxMappedBytes {
				t.Errorf("%q became %q, which LVM refuses", name, lv)
			}
			for _, part := range vg.Reserved {
				if strings.Contains(lv, part) {
					t.Errorf("%q became %q, which contains %s", name, lv, part)
				}
			}
		}
	}
	if got := p.lvName(forVolume, "pvc-1"); got != "loam.fast.v.pvc-1" {
		t.Errorf("an ordinary name became %q", got)
	}
	if got := vg.MappedName("vg-0", "loam.a-b.v.c"); got != "vg--0-loam.a--b.v.c" {
		t.Errorf("the device is called %q", got)
	}
	if err := checkLength(strings.Repeat("-", 60), "fast"); !volume.Is(err, volume.Invalid) {
		t.Errorf("a group with a long name: %v", err)
	}
}

func FuzzNames(f *testing.F) {
	p, err := newPool("fast", "n1", Config{VolumeGroup: "vg0"}, nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("pvc-1")
	f.Add("a_rmeta_1")
	f.Fuzz(func(t *testing.T, text string) {
		name := volume.NameFor(text)
		lv := p.lvName(forVolume, name)
		if !legalName.MatchString(lv) || len(vg.MappedName("vg0", lv))+suffixBytes > maxMappedBytes {
			t.Fatalf("%q became %q", name, lv)
		}
	})
}
