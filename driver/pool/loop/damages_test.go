package loop_test

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/pool/pooltest"
	"github.com/loam-storage/loam/driver/volume"
)

// damages returns what may befall a volume or snapshot of the pool that c says when it is done.
func damages(c *loop.Config) (all []pooltest.Damage) {
	for _, d := range []struct {
		name  string
		image bool                    // and not the record
		text  func(was string) []byte // nil: it is lost
	}{
		{name: "its record is lost"},
		{name: "its record is empty", text: func(string) []byte { return nil }},
		{name: "its record is garbage", text: func(string) []byte { return make([]byte, 300) }},
		{name: "its record is cut off", text: func(was string) []byte { return []byte(was[:len(was)/2]) }},
		{name: "its record is of a later version", text: func(string) []byte { return []byte(`{"version": 99}`) }},
		{name: "its image is lost", image: true},
	} {
		do := func(dir, record string) func(volume.ID) (func(), error) {
			return func(id volume.ID) (func(), error) {
				root := c.Directory
				if c.SizeBytes > 0 {
					root = filepath.Join(root, "mounted")
				}
				file := filepath.Join(root, dir, id.Name, record)
				if d.image {
					file = filepath.Join(root, dir, id.Name, "image")
				}
				was, err := os.ReadFile(file)
				if err == nil {
					err = os.Rename(file, file+".away")
				}
				if err == nil && d.text != nil {
					err = os.WriteFile(file, d.text(string(was)), 0o600)
				}
				return func() {
					if err := os.Rename(file+".away", file); err != nil {
						panic(errors.Join(errors.New("a test cannot mend what it damaged"), err))
					}
				}, err
			}
		}
		all = append(all, pooltest.Damage{Name: d.name, Volume: do("volumes", "volume.json"), Snapshot: do("snapshots", "snapshot.json")})
	}
	return all
}
