package volume

import "slices"

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
	MountOptions []string // checked by CheckMountOptions for FSType; always empty with Block
	Mode         AccessMode
}

// ReadOnly reports whether the access itself forbids writing. Of the options that CheckMountOptions lets
// through, "ro" is the only one that asks for that.
func (a Access) ReadOnly() bool {
	return a.Mode == SingleNodeReader || slices.Contains(a.MountOptions, "ro")
}
