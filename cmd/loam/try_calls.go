package main

import (
	"context"
	"fmt"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

func fromSnapshot(s *csi.Snapshot) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
		Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: s.GetSnapshotId()},
	}}
}

func fromVolume(v *csi.Volume) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
		Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: v.GetVolumeId()},
	}}
}

func (l *life) create(ctx context.Context, name string, source *csi.VolumeContentSource) (*csi.Volume, string, error) {
	request := &csi.CreateVolumeRequest{
		Name: name, VolumeCapabilities: []*csi.VolumeCapability{l.capability}, VolumeContentSource: source,
		Parameters: map[string]string{volume.KeyPool: l.pool},
	}
	if source == nil {
		request.CapacityRange = &csi.CapacityRange{RequiredBytes: int64(l.size)}
	}
	answer, err := l.controller.CreateVolume(ctx, request)
	if err != nil {
		return nil, "", err
	}
	_, v, err := l.pools.Find(ctx, answer.GetVolume().GetVolumeId())
	happened := fmt.Sprintf("%s, %d bytes, empty", v.ID, v.Size)
	if v.Source != nil {
		happened = fmt.Sprintf("%s, %d bytes, a copy of %s", v.ID, v.Size, v.Source)
	}
	return answer.GetVolume(), happened, err
}

func (l *life) attach(ctx context.Context, v *csi.Volume) (string, error) {
	_, err := l.controller.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{
		VolumeId: v.GetVolumeId(), NodeId: l.nodeID, VolumeCapability: l.capability,
	})
	if err != nil {
		return "", err
	}
	_, found, err := l.pools.Find(ctx, v.GetVolumeId())
	if err != nil {
		return "", err
	}
	device, err := l.machine.Device(found.Device)
	return fmt.Sprintf("%s (%d:%d), %d bytes", found.Device, device.Number.Major, device.Number.Minor, device.SizeBytes), err
}

func (l *life) stage(ctx context.Context, v *csi.Volume) (string, error) {
	if err := os.MkdirAll(l.staging(v), 0o750); err != nil {
		return "", err
	}
	_, err := l.node.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: l.staging(v), VolumeCapability: l.capability,
	})
	if err != nil {
		return "", err
	}
	_, found, err := l.pools.Find(ctx, v.GetVolumeId())
	if err != nil {
		return "", err
	}
	signature, err := l.machine.Probe(ctx, found.Device)
	return fmt.Sprintf("%s %s on %s, mounted on %s", signature.Type, signature.UUID, found.Device, l.staging(v)), err
}

func (l *life) publish(ctx context.Context, v *csi.Volume) (string, error) {
	_, err := l.node.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: l.staging(v), TargetPath: l.target(v), VolumeCapability: l.capability,
	})
	if err != nil {
		return "", err
	}
	usage, err := l.machine.Usage(l.target(v))
	return fmt.Sprintf("%s, %s of it free", l.target(v), volume.Size(usage.AvailableBytes)), err
}

func (l *life) expand(ctx context.Context, v *csi.Volume) (string, error) {
	before, err := l.machine.Usage(l.target(v))
	if err != nil {
		return "", err
	}
	size := &csi.CapacityRange{RequiredBytes: int64(l.size) * 3 / 2}
	if _, err := l.controller.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{VolumeId: v.GetVolumeId(), CapacityRange: size}); err != nil {
		return "", err
	}
	_, err = l.node.NodeExpandVolume(ctx, &csi.NodeExpandVolumeRequest{
		VolumeId: v.GetVolumeId(), VolumePath: l.target(v), StagingTargetPath: l.staging(v), CapacityRange: size,
	})
	if err != nil {
		return "", err
	}
	after, err := l.machine.Usage(l.target(v))
	if err == nil && after.TotalBytes <= before.TotalBytes {
		err = fmt.Errorf("the file system has %d bytes and had %d", after.TotalBytes, before.TotalBytes)
	}
	return fmt.Sprintf("file system grown while mounted, from %d to %d bytes", before.TotalBytes, after.TotalBytes), err
}

func (l *life) snapshot(ctx context.Context, v *csi.Volume) (*csi.Snapshot, string, error) {
	answer, err := l.controller.CreateSnapshot(ctx, &csi.CreateSnapshotRequest{SourceVolumeId: v.GetVolumeId(), Name: l.name})
	s := answer.GetSnapshot()
	return s, fmt.Sprintf("%s, %d bytes, taken of the mounted volume", s.GetSnapshotId(), s.GetSizeBytes()), err
}
