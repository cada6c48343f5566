package lvm_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

// Options of mkfs work on some blocks and not on others: those are tried that the volume will have.
func TestOptionsOfMkfsAreTriedOnTheBlocksOfTheDisks(t *testing.T) {
	smallGroup(t, 1, "700m")
	p := open(t, lvm.Config{VolumeGroup: vg}, host.NewRunner())
	makes := func(name string, t volume.FSType, options string) volume.Spec {
		s := spec(name, 320*volume.MiB)
		s.Mkfs, s.Parameters.MkfsOptions = t, options
		return s
	}
	must(t, second(p.Create(t.Context(), makes("a", volume.XFS, "-s size=512"))))
	must(t, p.Delete(t.Context(), id("a")))
	must(t, second(p.Create(t.Context(), makes("a", volume.Ext4, "-b 1024"))))

	file := filepath.Join(t.TempDir(), "disk")
	must(t, errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, int64(400*volume.MiB))))
	large := run(t, "losetup", "--find", "--show", "--sector-size", "4096", file)
	t.Cleanup(func() { run(t, "losetup", "--detach", large) })
	run(t, "lvm", "vgextend", "--config", settings+" devices/allow_mixed_block_sizes=1", "--yes", vg, large)
	t.Cleanup(func() {
		runLVM(t, "vgreduce", vg, large)
		runLVM(t, "pvremove", "--yes", large)
	})
	t.Cleanup(func() { empty(t, p) })
	for fsType, options := range map[volume.FSType]string{volume.Ext4: "-b 1024", volume.XFS: "-s size=512"} {
		s := makes("b", fsType, options)
		_, err := p.Create(t.Context(), s)
		if !volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), "4096") {
			t.Errorf("Create of %s with %s on blocks of 4096 bytes: %v", fsType, options, err)
		}
		if _, err := p.Get(t.Context(), id("b")); !volume.Is(err, volume.NotFound) {
			t.Errorf("Get of what was refused: %v", err)
		}
		s.BlockBytes = 512
		must(t, second(p.Create(t.Context(), s)))
		must(t, p.Delete(t.Context(), id("b")))
	}
}
