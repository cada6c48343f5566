package pool_test

import (
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

func TestADeviceIsKnownByWhatTheKernelCallsIt(t *testing.T) {
	file := func(path string) host.BlockDevice {
		return host.BlockDevice{Name: "loop0", File: &host.BackingFile{Path: path}}
	}
	mapped := func(name string) host.BlockDevice {
		return host.BlockDevice{Name: "dm-0", MapperName: name, MapperUUID: "LVM-x"}
	}
	v, hashed := volume.ID{Node: "n1", Pool: "fast", Name: "pvc-1"}, pool.HashedLVName("fast", pool.LVOfVolume, "pvc-1")
	for what, c := range map[string]struct {
		device host.BlockDevice
		id     volume.ID
		is     bool
	}{
		"its image":                               {file("/var/lib/loam/fast/volumes/pvc-1/image"), v, true},
		"its image, in a namespace that is gone":  {file("/volumes/pvc-1/image"), v, true},
		"the image of another":                    {file("/var/lib/loam/fast/volumes/pvc-11/image"), v, false},
		"the image of its snapshot":               {file("/var/lib/loam/fast/snapshots/pvc-1/image"), v, false},
		"another file of it":                      {file("/var/lib/loam/fast/volumes/pvc-1/volume.json"), v, false},
		"any image, of nothing":                   {file("/var/lib/loam/fast/volumes/pvc-1/image"), volume.ID{}, false},
		"its logical volume":                      {mapped("vg0-loam.fast.v.pvc--1"), v, true},
		"its logical volume, of a group with a -": {mapped("vg--0-loam.fast.v.pvc--1"), v, true},
		"its logical volume, hashed":              {mapped("vg0-" + hashed), v, true},
		"its logical volume, of whatever pool":    {mapped("vg0-loam.fast.v.pvc--1"), volume.ID{Node: "n1", Name: "pvc-1"}, true},
		"the same in another pool":                {mapped("vg0-loam.slow.v.pvc--1"), v, false},
		"its snapshot":                            {mapped("vg0-loam.fast.s.pvc--1"), v, false},
		"a part of it":                            {mapped("vg0-loam.fast.v.pvc--1_rimage_0"), v, false},
		"one that is not LVM's":                   {host.BlockDevice{MapperName: "vg0-loam.fast.v.pvc--1"}, v, false},
		"a disk":                                  {host.BlockDevice{Name: "sda"}, v, false},
	} {
		if is := pool.IsDeviceOf(c.device, c.id); is != c.is {
			t.Errorf("%s: %t", what, is)
		}
	}
}
