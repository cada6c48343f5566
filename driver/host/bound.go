package host

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// A device node that is bind-mounted into a pod's directory stays there when its device goes, and then shows
// whatever device gets the number next. So a number whose node is bound is not used again, and what a bind is for
// is noted on the file under it.

// IsNode reports whether a line of the mount table is a device node that is bound somewhere, or another file of
// the file systems that device nodes lie on.
func (m Mount) IsNode() bool {
	return (m.FSType == "devtmpfs" || m.FSType == "tmpfs") && m.Root != "/"
}

// boundNodes returns where in the mount table device nodes are bound, by their numbers. A bind that another mount
// lies over is found by the name of its node, which is that of the kernel on a devtmpfs.
func boundNodes(table []Mount) map[DeviceNumber][]string {
	bound := map[DeviceNumber][]string{}
	for _, m := range table {
		if !m.IsNode() {
			continue
		}
		var stat unix.Stat_t
		if err := unix.Stat(m.Target, &stat); err == nil && stat.Mode&unix.S_IFMT == unix.S_IFBLK {
			n := DeviceNumber{Major: unix.Major(stat.Rdev), Minor: unix.Minor(stat.Rdev)}
			bound[n] = append(bound[n], m.Target)
			continue
		}
		name := path.Base(strings.TrimSuffix(m.Root, "//deleted"))
		if err := unix.Stat("/dev/"+name, &stat); err == nil && m.FSType == "devtmpfs" && stat.Mode&unix.S_IFMT == unix.S_IFBLK {
			n := DeviceNumber{Major: unix.Major(stat.Rdev), Minor: unix.Minor(stat.Rdev)}
			bound[n] = append(bound[n], m.Target)
		}
	}
	return bound
}

// ownerAttribute is where SetOwner keeps its note: an extended attribute that only root sees (xattr(7)).
const ownerAttribute = "trusted." + volume.DriverName

// SetOwner notes on an empty file or directory which volume is going to be bound or mounted there, also below what is there already.
func (h *Host) SetOwner(target, owner string) error {
	return setAttribute(target, ownerAttribute, owner)
}

// Owner reads that note.
func (h *Host) Owner(target string) (string, error) { return attribute(target, ownerAttribute) }

// notBound says whether the node of a device is bound anywhere, but where it is noted that this was for another
// owner. The kind of its error is InUse.
func (h *Host) notBound(device string, number DeviceNumber, table []Mount, owner string) error {
	for _, target := range boundNodes(table)[number] {
		noted, err := h.Owner(target)
		if err != nil {
			return err
		}
		if noted == "" || noted == owner {
			return volume.Errorf(volume.InUse, "device %s is bound at %q: unmount it there first", device, target)
		}
	}
	return nil
}
