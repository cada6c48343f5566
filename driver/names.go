package driver

import (
	"path"

	"github.com/container-storage-interface/spec/lib/go/csi"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/loam-storage/loam/driver/inventory"
	"github.com/loam-storage/loam/driver/volume"
)

// names is what a call holds while it is at work, each as "volume <name>", "snapshot <name>",
// "group <name>" or "target_path <path>". A name stands for the thing in whatever pool it is, for a call that creates does
// not say in which.
type names struct {
	reads     bool     // the call changes nothing and holds nothing
	exclusive []string // nobody else may hold these
	shared    []string // these are copied from or bound elsewhere, by any number of calls at once
}

// namesOf returns what a call with the given request holds. Every request of the CSI services that
// are served is listed, so that a new one cannot be forgotten: one that is not is of the kind
// Internal.
func namesOf(req any) (names, error) {
	var n names
	switch r := req.(type) {
	case *csi.GetPluginInfoRequest, *csi.GetPluginCapabilitiesRequest, *csi.ProbeRequest,
		*csi.ValidateVolumeCapabilitiesRequest, *csi.ListVolumesRequest, *csi.GetCapacityRequest, *csi.ControllerGetCapabilitiesRequest,
		*csi.ListSnapshotsRequest, *csi.GetSnapshotRequest, *csi.ControllerGetVolumeRequest,
		*csi.ControllerGetVolumeHealthRequest, *csi.ControllerListVolumeHealthRequest,
		*csi.GroupControllerGetCapabilitiesRequest, *csi.GetVolumeGroupSnapshotRequest,
		*csi.NodeGetVolumeStatsRequest, *csi.NodeGetCapabilitiesRequest, *csi.NodeGetInfoRequest,
		*csi.NodeGetVolumeHealthRequest, *csi.NodeGetStorageHealthRequest,
		*inventory.ListInventoryRequest,
		*healthgrpc.HealthCheckRequest, *healthgrpc.HealthListRequest:
		n.reads = true

	case *csi.CreateVolumeRequest:
		n.hold(aVolume, requested(r.GetName()))
		n.share(aSnapshot, handled(r.GetVolumeContentSource().GetSnapshot().GetSnapshotId()))
		n.share(aVolume, handled(r.GetVolumeContentSource().GetVolume().GetVolumeId()))
	case *csi.DeleteVolumeRequest, *csi.ControllerPublishVolumeRequest, *csi.ControllerUnpublishVolumeRequest,
		*csi.ControllerExpandVolumeRequest, *csi.ControllerModifyVolumeRequest,
		*csi.NodeStageVolumeRequest, *csi.NodeUnstageVolumeRequest, *csi.NodeExpandVolumeRequest:
		n.hold(aVolume, handled(r.(interface{ GetVolumeId() string }).GetVolumeId()))

	case *csi.NodePublishVolumeRequest:
		n.mount(r.GetVolumeId(), r.GetTargetPath(), r.GetVolumeCapability().GetBlock() == nil && !oneTarget(r.GetVolumeCapability()))
	case *csi.NodeUnpublishVolumeRequest:
		n.mount(r.GetVolumeId(), r.GetTargetPath(), true)

	case *csi.CreateSnapshotRequest:
		n.hold(aSnapshot, requested(r.GetName()))
		n.share(aVolume, handled(r.GetSourceVolumeId()))
	case *csi.DeleteSnapshotRequest:
		n.hold(aSnapshot, handled(r.GetSnapshotId()))

	case *csi.CreateVolumeGroupSnapshotRequest:
		group := requested(r.GetName())
		n.hold(aGroup, group)
		for _, handle := range r.GetSourceVolumeIds() {
			n.share(aVolume, handled(handle))
			n.hold(aSnapshot, volume.MemberName(group, handled(handle)))
		}
	case *csi.DeleteVolumeGroupSnapshotRequest:
		n.hold(aGroup, handled(r.GetGroupSnapshotId()))
		for _, handle := range r.GetSnapshotIds() {
			n.hold(aSnapshot, handled(handle))
		}

	default:
		return names{}, volume.Errorf(volume.Internal, "nobody has said what a call with a %T holds: driver/names.go must", req)
	}
	return n, nil
}

// The things that have names.
const (
	aVolume   = "volume "
	aSnapshot = "snapshot "
	aGroup    = "group "
	aTarget   = "target_path "
)

func (n *names) hold(thing, name string) {
	if name != "" {
		n.exclusive = append(n.exclusive, thing+name)
	}
}

func (n *names) share(thing, name string) {
	if name != "" {
		n.shared = append(n.shared, thing+name)
	}
}

// mount holds what a call needs that binds a volume to a target or takes it away there. The pods of a node that use one
// volume come and go beside each other, so such calls hold their target, and the volume only against those that stage, grow or delete
// it. Where the call may do more than that it is not together: with an inline volume, which goes with its last
// target, and where the target may be the only one or its device is changed.
func (n *names) mount(handle, target string, together bool) {
	if _, err := volume.ParseID(handle); err != nil || !together {
		n.hold(aVolume, handled(handle))
		return
	}
	n.share(aVolume, handled(handle))
	if target != "" {
		n.hold(aTarget, path.Clean(target))
	}
}

// oneTarget reports whether the access mode lets a volume be at one target only.
func oneTarget(c *csi.VolumeCapability) bool {
	return volume.AccessMode(c.GetAccessMode().GetMode().String()).OneTarget()
}

// requested returns the name of what is created under a CSI name. It is empty where that is missing:
// there is nothing to hold, and the handler refuses it.
func requested(name string) string {
	if name == "" {
		return ""
	}
	return volume.NameFor(name)
}

// handled returns the name of what has the given handle. An inline ephemeral volume's handle is the
// kubelet's and not one of ours; the volume is named for it.
func handled(handle string) string {
	if id, err := volume.ParseID(handle); err == nil {
		return id.Name
	}
	return requested(handle)
}
