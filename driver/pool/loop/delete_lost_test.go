package loop_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/volume"
)

// What is left of a volume goes when it is deleted: also the loop device that keeps the space of an image that was removed.
func TestWhatIsLeftOfAVolumeIsDeleted(t *testing.T) {
	hosttest.NeedsRoot(t)
	for what, c := range map[string]struct {
		lose     func(dir string) error
		attached bool // and its device is not to be taken away by Delete
	}{
		"the image":               {func(dir string) error { return os.Remove(filepath.Join(dir, "image")) }, false},
		"the record":              {func(dir string) error { return os.Remove(filepath.Join(dir, "volume.json")) }, true},
		"what the record says":    {func(dir string) error { return os.WriteFile(filepath.Join(dir, "volume.json"), []byte("{"), 0o600) }, true},
		"the directory":           {os.RemoveAll, false},
		"the record and its mark": {func(dir string) error { return os.Remove(filepath.Join(dir, "fresh")) }, true},
	} {
		t.Run(what, func(t *testing.T) {
			config := loop.Config{Directory: t.TempDir(), SizeBytes: 512 * volume.MiB}
			p := open(t, config)
			t.Cleanup(func() { closeAll(t, p) })
			free := func() volume.Size {
				s, err := p.Status(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return s.FreeBytes
			}
			before := free()
			create(t, p, "a", 32*volume.MiB)
			create(t, p, "b", 32*volume.MiB)
			device, err := p.Attach(t.Context(), id("a"), false)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Dir(imageOf(config, "a"))
			if what == "the record and its mark" {
				_ = os.Remove(filepath.Join(dir, "volume.json"))
			}
			if err := c.lose(dir); err != nil {
				t.Fatal(err)
			}
			held, err := os.Open(device)
			if err != nil {
				t.Fatal(err)
			}
			inUse(t, "Delete of what is open", p.Delete(t.Context(), id("a")), device)
			if err := held.Close(); err != nil {
				t.Fatal(err)
			}
			err = p.Delete(t.Context(), id("a"))
			if c.attached {
				inUse(t, "Delete of what is attached", err, device)
				run(t, "losetup", "--detach", device)
				for attached := true; attached; { // who looks at it keeps it a moment
					text, err := os.ReadFile("/sys/block/" + filepath.Base(device) + "/loop/backing_file")
					attached = err == nil && strings.HasPrefix(string(text), dir)
				}
				err = p.Delete(t.Context(), id("a"))
			}
			if err != nil {
				t.Fatalf("Delete: %v", err)
			}
			if text, err := os.ReadFile("/sys/block/" + filepath.Base(device) + "/loop/backing_file"); err == nil && strings.HasPrefix(string(text), dir) {
				t.Errorf("%s still has %s", device, text)
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("%s is still there: %v", dir, err)
			}
			if err := p.Delete(t.Context(), id("a")); err != nil {
				t.Errorf("Delete again: %v", err)
			}
			if err := p.Delete(t.Context(), id("b")); err != nil {
				t.Fatal(err)
			}
			if now := free(); now < before-volume.MiB {
				t.Errorf("%s were free, and %s are", before, now)
			}
		})
	}
}
