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

// The loop device of a volume whose directory was removed keeps the space of its image. It goes when the volume is deleted.
func TestTheDeviceOfARemovedImageIsDetachedByDelete(t *testing.T) {
	hosttest.NeedsRoot(t)
	config := loop.Config{Directory: t.TempDir(), SizeBytes: 512 * volume.MiB}
	p := open(t, config)
	t.Cleanup(func() { closeAll(t, p) })
	free := func() volume.Size {
		t.Helper()
		s, err := p.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.FreeBytes
	}
	before := free()
	create(t, p, "a", 32*volume.MiB)
	device, err := p.Attach(t.Context(), id("a"), false)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(imageOf(config, "a"))
	held, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	inUse(t, "Delete of what is open", p.Delete(t.Context(), id("a")), device)
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Delete(t.Context(), id("a")); err != nil {
			t.Fatalf("Delete: %v", err)
		}
	}
	if text, err := os.ReadFile("/sys/block/" + filepath.Base(device) + "/loop/backing_file"); err == nil && strings.HasPrefix(string(text), dir) {
		t.Errorf("%s still has %s", device, text)
	}
	if now := free(); now < before-volume.MiB {
		t.Errorf("%s were free, and %s are", before, now)
	}
}
