package loop_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/pool/pooltest"
	"github.com/loam-storage/loam/driver/volume"
)

// away takes the file away that says which pool it is, as everything goes with a disk.
func away(t *testing.T, c loop.Config) (back func()) {
	t.Helper()
	file := filepath.Join(c.Directory, "pool.json")
	if c.SizeBytes > 0 {
		file = filepath.Join(c.Directory, "mounted", "pool.json")
	}
	run(t, "mv", file, file+".away")
	return func() { run(t, "mv", file+".away", file) }
}

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
		do := func(dir, record string) func(*testing.T, volume.ID) func() {
			return func(t *testing.T, id volume.ID) func() {
				t.Helper()
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
				if err != nil {
					t.Fatal(err)
				}
				return func() { run(t, "mv", file+".away", file) }
			}
		}
		all = append(all, pooltest.Damage{Name: d.name, Volume: do("volumes", "volume.json"), Snapshot: do("snapshots", "snapshot.json")})
	}
	return all
}
