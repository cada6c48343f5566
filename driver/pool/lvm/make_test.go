package lvm_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

// cutting fails all commands from the first change on, that one before or after it did its work.
type cutting struct {
	host.Runner
	does bool
	was  string // the change
}

func (c *cutting) Run(ctx context.Context, command host.Command) ([]byte, error) {
	changes := command.Name == "lvm" && slices.Contains([]string{"pvcreate", "vgcreate", "lvcreate", "vgchange", "lvremove"}, command.Args[0])
	switch {
	case c.was == "" && !changes:
		return c.Runner.Run(ctx, command)
	case c.was == "":
		c.was = command.Args[0]
		if c.does {
			_, _ = c.Runner.Run(ctx, command)
		}
	}
	return nil, volume.Errorf(volume.Internal, "%s: cut off", command.Name)
}

func TestOpenMakesTheGroupOfEmptyDisks(t *testing.T) {
	disks := testDisks(t, 2)[:2]
	for _, d := range disks {
		run(t, "blkdiscard", "--zeroout", d)
	}
	wipedAfter(t, disks...)
	c := lvm.Config{VolumeGroup: vg, ThinPool: "tp", Create: true, Devices: disks}
	openIt := func() error {
		p, err := lvm.Open(t.Context(), poolName, node, c, host.New(host.NewRunner()), host.NewRunner())
		if err != nil {
			return err
		}
		defer p.Close()
		if s := status(t, p); !s.Healthy || s.LargestBytes < 400*volume.MiB {
			t.Errorf("Status answered %+v", s)
		}
		if _, err := p.Create(t.Context(), spec("a", 8*volume.MiB)); err != nil {
			t.Error(err)
		}
		return nil
	}
	run(t, "mkfs.ext4", "-q", disks[1])
	sum := func() string {
		return run(t, "sh", "-c", "for d in $0 $1; do head -c 32M $d | sha256sum; done", disks[0], disks[1])
	}
	before := sum()
	if err := openIt(); !volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), "ext4") {
		t.Fatalf("a disk with a file system: %v", err)
	}
	if after := sum(); after != before {
		t.Errorf("the disks were changed")
	}
	run(t, "wipefs", "--all", disks[1])
	run(t, "blkdiscard", "--zeroout", disks[1])
	// Each change is cut off once before and once after it did its work, in what the last attempt left: two disks, the
	// group, a part that lvcreate had not put into its thin pool yet, the thin pool, and the tag.
	attempts := 0
	for ; attempts < 20; attempts++ {
		cut := &cutting{Runner: host.NewRunner(), does: attempts%2 == 1}
		p, err := lvm.Open(t.Context(), poolName, node, c, host.New(cut), cut)
		if err == nil {
			must(t, p.Close())
			break
		}
		if cut.was == "vgcreate" && cut.does {
			runLVM(t, "lvcreate", "--yes", "--zero", "n", "--extents", "1", "--name", "lvol0", vg)
		}
	}
	if attempts != 12 {
		t.Errorf("the pool was made in %d attempts that were cut off, want 12", attempts)
	}
	if err := openIt(); err != nil {
		t.Fatal(err)
	}
	if got := runLVM(t, "vgs", "--noheadings", "-o", "vg_tags,lv_count", vg); got != "2" {
		t.Errorf("tags and number of logical volumes of the group: %q, want the thin pool and a volume", got)
	}
	uuid := runLVM(t, "vgs", "--noheadings", "-o", "vg_uuid", vg)
	if err := openIt(); err != nil {
		t.Fatal(err)
	}
	if again := runLVM(t, "vgs", "--noheadings", "-o", "vg_uuid", vg); again != uuid {
		t.Errorf("the group was made again")
	}
}
