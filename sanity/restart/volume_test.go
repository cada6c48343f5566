package restart_test

import (
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// used is a volume that is mounted, as an orchestrator knows it.
type used struct {
	id, staging, target string
	access              *csi.VolumeCapability
	context             map[string]string // of its publication by the controller
}

// use creates a volume, empty or from a snapshot, and mounts it in dir.
func (s *server) use(dir, name string, fsType volume.FSType, size volume.Size, snapshot string) used {
	s.Helper()
	access := &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: string(fsType)}},
	}
	request := &csi.CreateVolumeRequest{
		Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: int64(size)}, VolumeCapabilities: []*csi.VolumeCapability{access},
	}
	if snapshot != "" {
		request.VolumeContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
			Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: snapshot}}}
	}
	created, err := s.controller.CreateVolume(s.Context(), request)
	s.ok("CreateVolume", err)
	v := used{id: created.GetVolume().GetVolumeId(), staging: filepath.Join(dir, name+"-staging"), target: filepath.Join(dir, name), access: access}
	s.ok("make the staging directory", os.Mkdir(v.staging, 0o700))
	published, err := s.controller.ControllerPublishVolume(s.Context(),
		&csi.ControllerPublishVolumeRequest{VolumeId: v.id, NodeId: nodeName, VolumeCapability: v.access})
	s.ok("ControllerPublishVolume", err)
	v.context = published.GetPublishContext()
	s.mount(v)
	return v
}

// mount mounts a volume, or says again that it is to be mounted, as the kubelet does.
func (s *server) mount(v used) {
	s.Helper()
	_, err := s.node.NodeStageVolume(s.Context(), &csi.NodeStageVolumeRequest{
		VolumeId: v.id, StagingTargetPath: v.staging, VolumeCapability: v.access, PublishContext: v.context})
	s.ok("NodeStageVolume", err)
	_, err = s.node.NodePublishVolume(s.Context(), &csi.NodePublishVolumeRequest{
		VolumeId: v.id, StagingTargetPath: v.staging, TargetPath: v.target, VolumeCapability: v.access, PublishContext: v.context})
	s.ok("NodePublishVolume", err)
}

// unmount takes a volume from its paths. Its device is still there.
func (s *server) unmount(v used) {
	s.Helper()
	_, err := s.node.NodeUnpublishVolume(s.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: v.id, TargetPath: v.target})
	s.ok("NodeUnpublishVolume", err)
	_, err = s.node.NodeUnstageVolume(s.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: v.id, StagingTargetPath: v.staging})
	s.ok("NodeUnstageVolume", err)
}

// remove detaches a volume that was unmounted, and deletes it.
func (s *server) remove(v used) {
	s.Helper()
	_, err := s.controller.ControllerUnpublishVolume(s.Context(), &csi.ControllerUnpublishVolumeRequest{VolumeId: v.id, NodeId: nodeName})
	s.ok("ControllerUnpublishVolume", err)
	_, err = s.controller.DeleteVolume(s.Context(), &csi.DeleteVolumeRequest{VolumeId: v.id})
	s.ok("DeleteVolume", err)
}

// empty fails the test if the pool has a volume or snapshot.
func (s *server) empty() {
	s.Helper()
	volumes, err := s.controller.ListVolumes(s.Context(), &csi.ListVolumesRequest{})
	s.ok("ListVolumes", err)
	if len(volumes.GetEntries()) > 0 {
		s.Errorf("volumes are left: %v", volumes.GetEntries())
	}
	if left := s.snapshots(); len(left) > 0 {
		s.Errorf("snapshots are left: %v", left)
	}
}

func (s *server) snapshots() []*csi.ListSnapshotsResponse_Entry {
	s.Helper()
	snapshots, err := s.controller.ListSnapshots(s.Context(), &csi.ListSnapshotsRequest{})
	s.ok("ListSnapshots", err)
	return snapshots.GetEntries()
}

// size returns how large the file system at a path is.
func (s *server) size(path string) volume.Size {
	s.Helper()
	var f unix.Statfs_t
	s.ok("statfs", unix.Statfs(path, &f))
	return volume.Size(f.Blocks) * volume.Size(f.Bsize)
}
