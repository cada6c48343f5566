package node

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// NodeGetVolumeStats returns the bytes and inodes of a mounted volume, or the size of a block volume.
// The kubelet asks for each pod and volume every minute, so it reads the mount table and asks the
// kernel, and starts no process.
func (s *Server) NodeGetVolumeStats(ctx context.Context, req *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, volume.Errorf(volume.Invalid, "volume_id is missing")
	}
	if req.GetVolumePath() == "" {
		return nil, volume.Errorf(volume.Invalid, "volume_path is missing")
	}
	_, v, err := s.find(ctx, req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	w, err := s.look(v)
	if err != nil {
		return nil, err
	}
	u, err := s.usedAt(v, w, req.GetVolumePath())
	if err != nil {
		return nil, err
	}
	if u.block {
		return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{
			{Unit: csi.VolumeUsage_BYTES, Total: int64(w.device.SizeBytes)},
		}}, nil
	}
	usage, err := s.machine.Usage(u.Target)
	if err != nil {
		return nil, err
	}
	return &csi.NodeGetVolumeStatsResponse{Usage: volumeUsage(usage)}, nil
}

// volumeUsage leaves out the inodes of a file system that has no fixed number of them (btrfs).
func volumeUsage(u host.Usage) []*csi.VolumeUsage {
	usage := []*csi.VolumeUsage{{Unit: csi.VolumeUsage_BYTES, Total: u.TotalBytes, Used: u.UsedBytes, Available: u.AvailableBytes}}
	if u.TotalInodes > 0 {
		usage = append(usage, &csi.VolumeUsage{Unit: csi.VolumeUsage_INODES, Total: u.TotalInodes, Used: u.UsedInodes, Available: u.FreeInodes})
	}
	return usage
}
