package controller

import (
	"context"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// CreateSnapshot takes a snapshot of a volume, in the volume's pool. The volume need not be there any
// more where the snapshot is: it is the pool that looks, and for the snapshot first.
func (s *Server) CreateSnapshot(ctx context.Context, req *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	maxFreeze, err := parseSnapshotRequest(req.GetName(), req.GetParameters())
	if err != nil {
		return nil, err
	}
	if err := required("source_volume_id", req.GetSourceVolumeId()); err != nil {
		return nil, err
	}
	source, err := volume.ParseID(req.GetSourceVolumeId())
	if err != nil {
		return nil, err
	}
	p, err := s.pools.SnapshotterOf(source)
	if err != nil {
		return nil, err
	}
	if err := s.checkTopology(req.GetAccessibilityRequirements()); err != nil {
		return nil, err
	}
	// The source says in which pool, so another one that cannot be read is no matter.
	holder, _ := s.holder(req.GetName(), p.Name(), func(_ pool.Pool, id volume.ID) error {
		_, err := s.getSnapshot(ctx, id)
		return err
	})
	if holder != nil {
		return nil, volume.Errorf(volume.Exists, "snapshot %q exists already, and not of volume %q", s.id(holder, req.GetName()), source)
	}
	taken, err := p.CreateSnapshot(ctx, volume.SnapshotSpec{ID: s.id(p, req.GetName()), Volumes: []volume.ID{source}, MaxFreeze: maxFreeze})
	if err != nil {
		return nil, err
	}
	return &csi.CreateSnapshotResponse{Snapshot: s.snapshot(taken[0])}, nil
}

// parseSnapshotRequest reads what requests for a snapshot and for a group have in common. The kind of
// its error is Invalid.
func parseSnapshotRequest(name string, parameters map[string]string) (maxFreeze time.Duration, err error) {
	if err := volume.CheckRequestName(name); err != nil {
		return 0, err
	}
	if err := checkMap("parameters", parameters); err != nil {
		return 0, err
	}
	return volume.ParseSnapshotParameters(parameters)
}
