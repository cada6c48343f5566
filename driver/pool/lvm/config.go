package lvm

import (
	"errors"
	"regexp"
	"slices"
	"sync"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/volume"
)

// Config says which volume group a pool is in and how it gives out space.
type Config struct {
	VolumeGroup string
	ThinPool    string // a thin pool of the group; empty for thick volumes

	// Create has the pool make the volume group of the Devices, and its thin pool of all of it, where the
	// group does not exist or has nothing in it. The devices have to be empty. Without Create, the Devices are the only ones
	// that LVM looks at; none: it looks at all to find the group.
	Create  bool
	Devices []string // paths

	Type    Type // of thick volumes; empty is Linear
	Stripes int  // data stripes of striped, raid5, raid6 and raid10; 0 is the least there can be
	Mirrors int  // further copies in raid1 and raid10; 0 is 1

	config.Space // of the group or thin pool; only a thin pool promises more than its size

	// When so many percent of a thin pool's data or metadata are taken, it gets so many percent more from the
	// volume group. Both are 0 where it is not to be extended.
	ExtendAt, ExtendBy int

	// Known is what the machine remembers of the pools that it has opened; not in the configuration file.
	Known identity.Store

	Wipe Wipe // how blocks of thick volumes are made to read as zeros; empty is the cheapest that is sure
}

// Type is how a thick volume lies on the disks, as lvcreate --type names it.
type Type string

// The types of thick volumes.
const (
	Linear  Type = "linear"
	Striped Type = "striped"
	RAID1   Type = "raid1"
	RAID5   Type = "raid5"
	RAID6   Type = "raid6"
	RAID10  Type = "raid10"
)

// Wipe is how blocks are made to read as zeros before a volume is handed out.
type Wipe string

// The ways to wipe.
const (
	WipeCheapest Wipe = ""        // discard where the device guarantees zeros for that, else zero
	WipeZero     Wipe = "zero"    // have the device write zeros
	WipeDiscard  Wipe = "discard" // discard; a device that does not guarantee zeros is refused
	WipeNone     Wipe = "none"    // a volume shows what was on the disk, but for its ends: for disks with one tenant
)

// namePattern is what LVM lets be the name of a volume group or logical volume (lvm(8), VALID NAMES).
var namePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,126}$`) })

// devicePattern keeps the paths of disks to those that LVM takes in a list.
var devicePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^/dev/[A-Za-z0-9][A-Za-z0-9._:+@=/-]*$`) })

// Check says whether a pool can be like that. The kind of its error is Invalid, and its message names
// the key of the configuration file.
func (c Config) Check() error {
	wrong := func(format string, args ...any) error { return volume.Errorf(volume.Invalid, format, args...) }
	_, known := shapes[c.Type]
	thick := c.ThinPool == ""
	switch {
	case !namePattern().MatchString(c.VolumeGroup) || c.VolumeGroup == "." || c.VolumeGroup == "..":
		return wrong("volumeGroup %q cannot be the name of a volume group", c.VolumeGroup)
	case !thick && !namePattern().MatchString(c.ThinPool):
		return wrong("thinPool %q cannot be the name of a thin pool", c.ThinPool)
	case !thick && (c.Type != "" || c.Stripes != 0 || c.Mirrors != 0):
		return wrong("type, stripes and mirrors are for thick volumes: those of a thin pool lie as the pool itself does")
	case !thick && c.Wipe != WipeCheapest:
		return wrong("wipe is for thick volumes: a thin pool makes its blocks zeros itself")
	case thick && c.Overprovision != 0:
		return wrong("overprovision needs a thinPool: a thick volume has all its space")
	case thick && (c.ExtendAt != 0 || c.ExtendBy != 0):
		return wrong("extend needs a thinPool: a thick volume has all its space")
	case (c.ExtendAt == 0) != (c.ExtendBy == 0):
		return wrong("extend needs both at and by, such as {at: 80%%, by: 20%%}")
	case c.ExtendAt != 0 && (c.ExtendAt < 50 || c.ExtendAt >= nearlyFull || c.ExtendBy < 1 || c.ExtendBy > 99):
		return wrong("extend is from 50%% to %d%% taken, by 1%% to 99%%", nearlyFull-1)
	case c.Create && len(c.Devices) == 0:
		return wrong("create needs devices: the empty disks to make the volume group of")
	case !known:
		return wrong("type %q is not linear, striped, raid1, raid5, raid6 or raid10", c.Type)
	case c.Wipe != WipeCheapest && c.Wipe != WipeZero && c.Wipe != WipeDiscard && c.Wipe != WipeNone:
		return wrong("wipe %q is not zero, discard or none", c.Wipe)
	}
	for i, d := range c.Devices {
		if !devicePattern().MatchString(d) || slices.Contains(c.Devices[:i], d) {
			return wrong("devices: %q is not the path of a disk in /dev, or there twice", d)
		}
	}
	return errors.Join(c.Space.Check(), c.checkShape())
}
