package lvm_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/pool/pooltest"
	"github.com/loam-storage/loam/driver/volume"
)

// damages returns what may befall the tags of a volume or snapshot.
func damages() (all []pooltest.Damage) {
	for _, d := range []struct {
		name   string
		prefix string // of the tags that go
		put    string // what comes in their place
		both   bool   // it befalls snapshots too
	}{
		{"its record is lost", "loam.storage/record.", "", true},
		{"its record is garbage", "loam.storage/record.", "loam.storage/record.0=garbage", true},
		{"its record is of a later version", "loam.storage/record.", "loam.storage/record.0=eyJ2ZXJzaW9uIjo5OX0", true},
		{"the tag that says whose it is, is lost", "loam.storage/%s=", "", true},
		{"the tag that says whose it is, is garbage", "loam.storage/%s=", "loam.storage/%[1]s=garbage", true},
		{"it is neither ready nor wiped", "loam.storage/ready", "", false},
	} {
		do := func(what, letter string) func(*testing.T, volume.ID) func() {
			return func(t *testing.T, id volume.ID) func() {
				t.Helper()
				name := vg + "/loam.fast." + letter + "." + id.Name
				prefix, put := strings.ReplaceAll(d.prefix, "%s", what), strings.ReplaceAll(d.put, "%[1]s", what)
				tags := slices.DeleteFunc(strings.Split(runLVM(t, "lvs", "--noheadings", "-o", "lv_tags", name), ","), func(tag string) bool {
					return !strings.HasPrefix(tag, prefix) && (prefix != "loam.storage/ready" || !strings.HasPrefix(tag, "loam.storage/wiped="))
				})
				away, back := []string{"lvchange"}, []string{"lvchange"}
				for _, tag := range tags {
					away, back = append(away, "--deltag", tag), append(back, "--addtag", tag)
				}
				if put != "" {
					away, back = append(away, "--addtag", put), append(back, "--deltag", put)
				}
				runLVM(t, append(away, name)...)
				return func() { runLVM(t, append(back, name)...) }
			}
		}
		damage := pooltest.Damage{Name: d.name, Volume: do("volume", "v")}
		if d.both {
			damage.Snapshot = do("snapshot", "s")
		}
		all = append(all, damage)
	}
	return all
}
