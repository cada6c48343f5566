// Package capability is the one place that reads a CSI VolumeCapability. The controller and the node
// service both do, so it stands beside them and not in either.
package capability

import (
	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

var modes = map[csi.VolumeCapability_AccessMode_Mode]volume.AccessMode{
	csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER:        volume.SingleNodeWriter,
	csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY:   volume.SingleNodeReader,
	csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER: volume.SingleNodeSingleWriter,
	csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:  volume.SingleNodeMultiWriter,
}

// Parse reads one capability. The kind of its error is Invalid: it is missing or incomplete, or asks
// for what a volume on one node cannot be.
func Parse(c *csi.VolumeCapability) (volume.Access, error) {
	if c == nil {
		return volume.Access{}, volume.Errorf(volume.Invalid, "volume capability is missing")
	}
	mode, ok := modes[c.GetAccessMode().GetMode()]
	if !ok {
		return volume.Access{}, volume.Errorf(volume.Invalid, "access mode %s: a volume of loam is on one node; ask for a SINGLE_NODE mode (ReadWriteOnce or ReadWriteOncePod)",
			c.GetAccessMode().GetMode())
	}
	access := volume.Access{Mode: mode}
	switch kind := c.GetAccessType().(type) {
	case *csi.VolumeCapability_Block:
		access.Block = true
	case *csi.VolumeCapability_Mount:
		fsType, err := volume.ParseFSType(kind.Mount.GetFsType())
		if err != nil {
			return volume.Access{}, err
		}
		if err := volume.CheckMountOptions(kind.Mount.GetMountFlags(), fsType); err != nil {
			return volume.Access{}, err
		}
		if kind.Mount.GetVolumeMountGroup() != "" {
			return volume.Access{}, volume.Errorf(volume.Invalid, "volume_mount_group is not supported; let the orchestrator apply the group (fsGroupPolicy File)")
		}
		access.FSType, access.MountOptions = fsType, kind.Mount.GetMountFlags()
	default:
		return volume.Access{}, volume.Errorf(volume.Invalid, "volume capability names neither mount nor block")
	}
	return access, nil
}

// ParseAll reads the capabilities of a request, of which there is at least one. The kind of its error
// is Invalid.
func ParseAll(capabilities []*csi.VolumeCapability) ([]volume.Access, error) {
	if len(capabilities) == 0 {
		return nil, volume.Errorf(volume.Invalid, "volume capabilities are missing")
	}
	all := make([]volume.Access, len(capabilities))
	for i, c := range capabilities {
		access, err := Parse(c)
		if err != nil {
			return nil, err
		}
		all[i] = access
	}
	return all, nil
}
