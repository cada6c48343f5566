package host

import (
	"slices"
	"testing"
)

// What LVM has made for a logical volume goes with it, and no device of another one that is called alike.
func TestThePartsOfALogicalVolume(t *testing.T) {
	n := func(minor uint32) DeviceNumber { return DeviceNumber{Major: 253, Minor: minor} }
	dm := func(minor uint32, name, uuid string, below ...DeviceNumber) BlockDevice {
		return BlockDevice{Number: n(minor), MapperName: name, MapperUUID: uuid, Below: below}
	}
	disk := DeviceNumber{Major: 8}
	all := []BlockDevice{
		{Number: disk, Name: "sda"},
		dm(0, "vg-data", "LVM-0", n(1), n(2), n(3), n(7)),
		dm(1, "vg-data_corig", "LVM-1-real", n(4), n(4)),
		dm(2, "vg-pool_cdata", "LVM-2-cdata", disk), // others may have it, too
		dm(3, "vg-data_like", "CRYPT-3", disk),
		dm(4, "vg-data_corig_rimage_0", "LVM-4", disk),
		dm(5, "vg-data_2", "LVM-5", disk), // another volume
		dm(6, "vg-data-real", "LVM-6-real", disk),
	}
	if got, want := partsOf(all[1], all), []string{"vg-data_corig", "vg-data_corig_rimage_0"}; !slices.Equal(got, want) {
		t.Errorf("the parts of a cached volume are %q, want %q", got, want)
	}
	origin := dm(8, "vg-data", "LVM-0", n(6))
	if got, want := partsOf(origin, all), []string{"vg-data-real"}; !slices.Equal(got, want) {
		t.Errorf("the parts of the origin of a snapshot are %q, want %q", got, want)
	}
	if got := partsOf(all[6], all); len(got) > 0 {
		t.Errorf("the parts of a volume on a disk are %q", got)
	}
}
