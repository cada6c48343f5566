package controller

import (
	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/loam-storage/loam/driver/volume"
)

// volume returns v as CSI describes it. There is no volume_context: the handle alone says everything
// that the node service needs. Only of an inline ephemeral volume, which is in lists although nobody has
// created it here, it says that it is one.
func (s *Server) volume(v volume.Volume) *csi.Volume {
	answer := &csi.Volume{
		VolumeId:           v.ID.String(),
		CapacityBytes:      int64(v.Size),
		ContentSource:      contentSource(v.Source),
		AccessibleTopology: s.accessible(),
	}
	if v.Ephemeral {
		answer.VolumeContext = map[string]string{volume.ContextEphemeral: "true"}
	}
	return answer
}

// publishedOn returns the nodes to which v is attached.
func publishedOn(v volume.Volume) []string {
	if !v.Attached() {
		return nil
	}
	return []string{v.ID.Node}
}

func contentSource(source *volume.Source) *csi.VolumeContentSource {
	switch {
	case source == nil:
		return nil
	case source.Kind == volume.FromSnapshot:
		return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
			Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: source.ID.String()},
		}}
	default:
		return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
			Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: source.ID.String()},
		}}
	}
}

// unknownVolume is what a snapshot was taken of whose record is lost: the specification requires a text, and this one is no handle.
const unknownVolume = "unknown"

// snapshot returns sn as CSI describes it. A pool answers only when the snapshot is taken, so it can
// always be used, unless it is damaged.
func (s *Server) snapshot(sn volume.Snapshot) *csi.Snapshot {
	answer := &csi.Snapshot{
		SnapshotId:         sn.ID.String(),
		SourceVolumeId:     sn.Volume.String(),
		SizeBytes:          int64(sn.Size),
		CreationTime:       timestamppb.New(sn.Created),
		ReadyToUse:         sn.Damage == "",
		AccessibleTopology: s.accessible(),
	}
	if sn.Volume == (volume.ID{}) {
		answer.SourceVolumeId = unknownVolume
	}
	if group, ok := sn.GroupID(); ok {
		answer.GroupSnapshotId = group.String()
	}
	return answer
}

// group returns the members of a group, of which there is at least one, as CSI describes it.
func (s *Server) group(id volume.ID, members []volume.Snapshot) *csi.VolumeGroupSnapshot {
	answer := &csi.VolumeGroupSnapshot{
		GroupSnapshotId: id.String(),
		CreationTime:    timestamppb.New(members[0].Created), // all are taken at one instant
		ReadyToUse:      true,
	}
	for _, member := range members {
		answer.Snapshots = append(answer.Snapshots, s.snapshot(member))
	}
	return answer
}
