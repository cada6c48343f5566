package volume

import (
	"regexp"
	"slices"
	"strings"
)

// AccessMode says who may use a volume at the same time. The values are those of the CSI
// VolumeCapability.AccessMode that a volume on one node can serve.
type AccessMode string

// The access modes of a volume that is on one node.
const (
	SingleNodeWriter       AccessMode = "SINGLE_NODE_WRITER"        // one target writes
	SingleNodeReader       AccessMode = "SINGLE_NODE_READER_ONLY"   // any number of targets read
	SingleNodeSingleWriter AccessMode = "SINGLE_NODE_SINGLE_WRITER" // one target writes (ReadWriteOncePod)
	SingleNodeMultiWriter  AccessMode = "SINGLE_NODE_MULTI_WRITER"  // any number of targets write (ReadWriteOnce)
)

// OneTarget reports whether the volume may be published at one target only.
func (m AccessMode) OneTarget() bool { return m == SingleNodeWriter || m == SingleNodeSingleWriter }

// Access is what a caller wants of a volume: a mounted file system or the bare device, and for whom.
type Access struct {
	Block        bool
	FSType       FSType   // empty: whatever is there, or the default; always empty with Block
	MountOptions []string // checked by CheckMountOptions; always empty with Block
	Mode         AccessMode
}

// ReadOnly reports whether the access itself forbids writing.
func (a Access) ReadOnly() bool {
	return a.Mode == SingleNodeReader || slices.Contains(a.MountOptions, "ro")
}

var mountOptionPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(?:=[A-Za-z0-9_.:,/"%@+-]{0,512})?$`)

// notOurs are options that change what or where is mounted, or that mount(8) itself acts on.
var notOurs = []string{"bind", "rbind", "move", "remount", "loop", "offset", "sizelimit", "encryption", "helper", "uhelper",
	"shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable", "device", "logdev", "rtdev", "journal_path", "journal_dev"}

// CheckMountOptions says whether the options may be handed to mount(8): each a name or name=value
// without blanks, and none that would mount something else or somewhere else. The kind of its error
// is Invalid. An option's value may be sensitive and is not in the message.
func CheckMountOptions(options []string) error {
	for _, option := range options {
		name, _, _ := strings.Cut(option, "=")
		if !mountOptionPattern.MatchString(option) {
			return Errorf(Invalid, "mount option %q: write a name or name=value without blanks, one option each", printable(name))
		}
		if slices.Contains(notOurs, name) || strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-") {
			return Errorf(Invalid, "mount option %q cannot be given for a volume", name)
		}
	}
	return nil
}
