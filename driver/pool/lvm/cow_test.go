package lvm

import (
	"testing"

	"github.com/loam-storage/loam/driver/volume"
)

// The figures are what LVM itself shortens a larger snapshot to.
func TestASnapshotHasRoomForItsWholeVolume(t *testing.T) {
	for size, want := range map[volume.Size]int64{
		4 * volume.KiB:                 1,
		8 * volume.MiB:                 9,
		256*volume.MiB - 64*volume.KiB: 257, // 4095 chunks fill an area but for the entry that ends it
		256 * volume.MiB:               257,
		volume.GiB:                     1025,
	} {
		if got := cowExtents(size, volume.MiB); got != want {
			t.Errorf("a snapshot of %s has %d extents, want %d", size, got, want)
		}
	}
	raid := Config{Type: RAID1}.shape()
	if got := raid.cowCost(9); got != 5 {
		t.Errorf("9 extents on two disks take %d of each", got)
	}
}
