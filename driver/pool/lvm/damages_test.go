package lvm_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/pool/pooltest"
	"github.com/loam-storage/loam/driver/volume"
)

// damages returns what may befall the tags of a volume or snapshot.
func damages() (all []pooltest.Damage) {
	lv := func(args ...string) (string, error) {
		out, err := exec.Command("lvm", append([]string{args[0], "--config", settings}, args[1:]...)...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%v: %w\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out)), err
	}
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
		do := func(what, letter string) func(volume.ID) (func(), error) {
			return func(id volume.ID) (func(), error) {
				name := vg + "/loam.fast." + letter + "." + id.Name
				text, err := lv("lvs", "--noheadings", "-o", "lv_tags", name)
				if err != nil {
					return nil, err
				}
				prefix, put := strings.ReplaceAll(d.prefix, "%s", what), strings.ReplaceAll(d.put, "%[1]s", what)
				tags := slices.DeleteFunc(strings.Split(text, ","), func(tag string) bool {
					return !strings.HasPrefix(tag, prefix) && (prefix != "loam.storage/ready" || !strings.HasPrefix(tag, "loam.storage/wiped="))
				})
				away, back := []string{"lvchange"}, []string{"lvchange"}
				for _, tag := range tags {
					away, back = append(away, "--deltag", tag), append(back, "--addtag", tag)
				}
				if put != "" {
					away, back = append(away, "--addtag", put), append(back, "--deltag", put)
				}
				_, err = lv(append(away, name)...)
				return func() {
					if _, err := lv(append(back, name)...); err != nil {
						panic(err)
					}
				}, err
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
