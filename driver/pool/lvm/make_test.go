package lvm_test

import (
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

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
	if err := openIt(); err != nil {
		t.Fatal(err)
	}
	uuid := runLVM(t, "vgs", "--noheadings", "-o", "vg_uuid", vg)
	if err := openIt(); err != nil {
		t.Fatal(err)
	}
	if again := runLVM(t, "vgs", "--noheadings", "-o", "vg_uuid", vg); again != uuid {
		t.Errorf("the group was made again")
	}
}
