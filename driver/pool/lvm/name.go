package lvm

import (
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// namePrefix begins the name of every logical volume that is ours.
const namePrefix = pool.LVPrefix

// What a logical volume of ours is for, as the letter in its name.
const (
	forVolume   = pool.LVOfVolume
	forSnapshot = "s"
	forMember   = "g" // a snapshot that belongs to a group
	forSpare    = "w" // blocks being wiped for a volume that is attached
)

// maxMappedBytes is the longest name that device-mapper gives a device (DM_NAME_LEN without the end),
// and suffixBytes what LVM may put behind the name of a logical volume for a part of it.
const (
	maxMappedBytes = 127
	suffixBytes    = len("_rimage_63_imeta")
)

// lvName returns the name of the logical volume of ours. A name that LVM would refuse is hashed; the
// true one is in a tag. With our prefix no name begins with one of those that may not be at the beginning. "+" is in no name of a volume, so the two never meet.
func (o owner) lvName(what, name string) string {
	full := pool.LVName(o.name, what, name)
	if !vg.IsReserved(name) && len(vg.MappedName(o.group, full))+suffixBytes <= maxMappedBytes {
		return full
	}
	return pool.HashedLVName(o.name, what, name)
}

// checkLength says whether every name that the pool may need fits device-mapper. The kind of its error
// is Invalid.
func checkLength(group, name string) error {
	if n := len(vg.MappedName(group, pool.HashedLVName(name, forVolume, ""))) + suffixBytes; n > maxMappedBytes {
		return volume.Errorf(volume.Invalid, "the names of volume group %q and pool %q are together %d bytes too long for device-mapper: use a shorter one", group, name, n-maxMappedBytes)
	}
	return nil
}
