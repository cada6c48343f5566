package pool

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// A pool that is dead, or no longer in the configuration, cannot say which device a volume has. The kernel's own words
// for a device can: they are what the pools call the files and logical volumes that they make.

// Where in a directory the image of a volume is, as volumes/<name>/image.
const (
	VolumesDirectory = "volumes"
	ImageName        = "image"
)

// What the names of logical volumes begin with, and the letter in that of a volume.
const (
	LVPrefix   = "loam."
	LVOfVolume = "v"
)

// LVName returns the name of the logical volume that a pool makes for something; what is a letter that says for what.
func LVName(pool, what, name string) string { return LVPrefix + pool + "." + what + "." + name }

// HashedLVName is LVName where LVM would refuse that name.
func HashedLVName(pool, what, name string) string {
	sum := sha256.Sum256([]byte(name))
	return LVPrefix + pool + "." + what + "+" + hex.EncodeToString(sum[:16])
}

// IsDeviceOf reports whether a device is that of a volume, by what the kernel calls it. Where id names no pool, it may be in
// any. Of a loop device the kernel does not say in which pool its file is.
func IsDeviceOf(d host.BlockDevice, id volume.ID) bool {
	switch {
	case id.Name == "":
		return false
	case d.File != nil:
		volumes, name := path.Split(path.Dir(d.File.Path))
		return path.Base(d.File.Path) == ImageName && name == id.Name && path.Base(volumes) == VolumesDirectory
	}
	_, lv := SplitMapped(d.MapperName)
	if !strings.HasPrefix(d.MapperUUID, "LVM-") {
		return false
	}
	pool := id.Pool
	if rest, ours := strings.CutPrefix(lv, LVPrefix); pool == "" && ours {
		pool, _, _ = strings.Cut(rest, ".")
	}
	return lv == LVName(pool, LVOfVolume, id.Name) || lv == HashedLVName(pool, LVOfVolume, id.Name)
}

// SplitMapped returns which logical volume of which volume group a device-mapper device of that name is: a single hyphen
// stands between the two, and hyphens in them are doubled. LVM makes it so.
func SplitMapped(name string) (group, lv string) {
	single := func(i int) bool { // neither hyphen of a doubled one
		return name[i] == '-' && (i == 0 || name[i-1] != '-') && (i+1 == len(name) || name[i+1] != '-')
	}
	for i := range name {
		if single(i) {
			return strings.ReplaceAll(name[:i], "--", "-"), strings.ReplaceAll(name[i+1:], "--", "-")
		}
	}
	return "", name
}
