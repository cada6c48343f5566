package host

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// parameters are the options of a mount as the kernel takes them: those of the file system one by one, and those of the mount as bits.
type parameters struct {
	list       []parameter
	attributes int // MOUNT_ATTR_ of mount_setattr(2)
}

type parameter struct {
	name, value string
	hasValue    bool
}

// minHiddenBytes keeps a value such as "1" from being struck out of what the kernel says.
const minHiddenBytes = 4

// mountAttributes are the options that concern the mount, and not the file system.
var mountAttributes = map[string]struct {
	attribute int
	is        bool
}{
	"nosuid": {unix.MOUNT_ATTR_NOSUID, true}, "suid": {unix.MOUNT_ATTR_NOSUID, false},
	"nodev": {unix.MOUNT_ATTR_NODEV, true}, "dev": {unix.MOUNT_ATTR_NODEV, false},
	"noexec": {unix.MOUNT_ATTR_NOEXEC, true}, "exec": {unix.MOUNT_ATTR_NOEXEC, false},
	"nodiratime": {unix.MOUNT_ATTR_NODIRATIME, true}, "diratime": {unix.MOUNT_ATTR_NODIRATIME, false},
	"noatime": {unix.MOUNT_ATTR_NOATIME, true}, "atime": {unix.MOUNT_ATTR_NOATIME, false},
	"strictatime": {unix.MOUNT_ATTR_STRICTATIME, true}, "nostrictatime": {unix.MOUNT_ATTR_STRICTATIME, false},
	"nosymfollow": {unix.MOUNT_ATTR_NOSYMFOLLOW, true},
}

// withoutMeaning are options that change nothing: what the kernel does anyway (relatime unless another one is asked), mount(8)'s word for
// that, and how much the kernel writes to its own log, which fsconfig(2) does not take.
var withoutMeaning = []string{"defaults", "relatime", "norelatime", "silent", "loud", "noiversion"}

var selinuxContexts = []string{"context", "fscontext", "defcontext", "rootcontext"}

// parametersOf reads options that volume.CheckMountOptions lets through, as mount(8) would. labels says whether SELinux labels the files of
// this machine: contexts mean nothing elsewhere, and the kernel refuses them there.
func parametersOf(t volume.FSType, options []string, labels bool) (asked parameters) {
	add := func(p parameter) { asked.list = append(asked.list, p) }
	for _, option := range options {
		name, value, hasValue := strings.Cut(option, "=")
		attribute, ofMount := mountAttributes[name]
		switch {
		case slices.Contains(withoutMeaning, name):
		case slices.Contains(selinuxContexts, name):
			if labels {
				add(parameter{name, strings.Trim(value, `"`), true})
			}
		case ofMount && attribute.is:
			asked.attributes |= attribute.attribute
		case ofMount:
			asked.attributes &^= attribute.attribute
		case name == "iversion": // the others count versions in any case
			if t == volume.Ext4 {
				add(parameter{name: "i_version"})
			}
		default:
			add(parameter{name, value, hasValue})
		}
		switch name { // of both
		case "ro":
			asked.attributes |= unix.MOUNT_ATTR_RDONLY
		case "rw":
			asked.attributes &^= unix.MOUNT_ATTR_RDONLY
		}
	}
	if asked.attributes&unix.MOUNT_ATTR_STRICTATIME != 0 { // the two are one number to the kernel, and mount(2) has this one win
		asked.attributes &^= unix.MOUNT_ATTR_NOATIME
	}
	return asked
}

// withoutValues strikes the values out of a text.
func (asked parameters) withoutValues(text string) string {
	for _, p := range asked.list {
		if len(p.value) >= minHiddenBytes {
			text = strings.ReplaceAll(text, p.value, "...")
		}
	}
	return text
}

// labelsFiles reports whether SELinux labels the files of this machine: the kernel has it, and a policy. Without one the label of a process is a
// word, with one it is parted by colons. libselinux asks for a configuration file too, which containers do not have.
func labelsFiles() (bool, error) {
	types, err := os.ReadFile("/proc/filesystems")
	if err != nil || !slices.Contains(strings.Fields(string(types)), "selinuxfs") {
		return false, err
	}
	label, err := os.ReadFile("/proc/self/attr/current")
	return strings.Contains(string(label), ":"), err
}
