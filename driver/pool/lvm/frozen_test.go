package lvm_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// A backup tool has frozen the file system. Where the kernel suspends no such volume, that is said at once; nothing is left, and
// the freeze stays.
func TestWhatSomebodyElseHasFrozen(t *testing.T) {
	for _, k := range kinds()[:2] {
		t.Run(k.name, func(t *testing.T) {
			k.prepare(t)
			p := open(t, k.config, host.NewRunner())
			t.Cleanup(func() { empty(t, p) })
			must(t, second(p.Create(t.Context(), spec("a", 16*volume.MiB))))
			must(t, second(p.Create(t.Context(), spec("b", 16*volume.MiB))))
			device, dir := attach(t, p, "a"), t.TempDir()
			run(t, "mkfs.ext4", "-q", device)
			run(t, "mount", device, dir)
			t.Cleanup(func() {
				run(t, "umount", dir)
				must(t, p.Detach(t.Context(), id("a")))
			})
			before, err := p.Status(t.Context())
			must(t, err)
			run(t, "fsfreeze", "--freeze", dir)                                         // for as long as it takes: a watchdog would thaw it on a slow machine
			t.Cleanup(func() { _ = exec.Command("fsfreeze", "--unfreeze", dir).Run() }) // where the test ended early
			s := p.(pool.Snapshotter)
			clone := spec("c", 0)
			clone.Source = &volume.Source{Kind: volume.FromVolume, ID: id("a")}
			for what, err := range map[string]error{
				"snapshot": second(s.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}})),
				"group":    second(s.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("g"), Group: true, Volumes: []volume.ID{id("b"), id("a")}})),
				"clone":    second(p.Create(t.Context(), clone)),
			} {
				if host.SuspendsFrozen() {
					must(t, err)
				} else if !volume.Is(err, volume.InUse) || !strings.Contains(err.Error(), "frozen by somebody else") {
					t.Errorf("%s: %v", what, err)
				}
			}
			if taken, err := s.ListSnapshots(t.Context(), "", 0); !host.SuspendsFrozen() && (err != nil || len(taken) != 0) {
				t.Errorf("ListSnapshots answered %v, %v", taken, err)
			}
			if after, err := p.Status(t.Context()); !host.SuspendsFrozen() && (err != nil || after.FreeBytes != before.FreeBytes) {
				t.Errorf("%s are free and %s were, %v", after.FreeBytes, before.FreeBytes, err)
			}
			run(t, "fsfreeze", "--unfreeze", dir) // fails where somebody else did
			must(t, os.WriteFile(filepath.Join(dir, "later"), []byte("x"), 0o600))
			if !host.SuspendsFrozen() {
				must(t, second(s.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}})))
			}
		})
	}
}
