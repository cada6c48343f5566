package controller

import (
	"context"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// ListSnapshots returns snapshots in the order of their handles, a page at a time: all of them, those
// of one volume, or a single one. What is asked for and not there is an empty list.
func (s *Server) ListSnapshots(ctx context.Context, req *csi.ListSnapshotsRequest) (*csi.ListSnapshotsResponse, error) {
	limit, err := parseMaxEntries(req.GetMaxEntries())
	if err != nil {
		return nil, err
	}
	from, err := s.parseToken(req.GetStartingToken())
	if err != nil {
		return nil, err
	}
	var snapshots []volume.Snapshot
	var next string
	switch {
	case req.GetSnapshotId() != "":
		snapshots, err = s.oneSnapshot(ctx, req.GetSnapshotId(), req.GetSourceVolumeId())
	case req.GetSourceVolumeId() != "":
		snapshots, next, err = s.snapshotsOf(ctx, req.GetSourceVolumeId(), from, limit)
	default:
		snapshots, next, err = page(s.pools.Sorted(), from, limit, everySnapshot(ctx), snapshotID)
	}
	if err != nil {
		return nil, err
	}
	answer := &csi.ListSnapshotsResponse{Entries: make([]*csi.ListSnapshotsResponse_Entry, len(snapshots)), NextToken: next}
	for i, sn := range snapshots {
		answer.Entries[i] = &csi.ListSnapshotsResponse_Entry{Snapshot: s.snapshot(sn)}
	}
	return answer, nil
}

func snapshotID(sn volume.Snapshot) volume.ID { return sn.ID }

// oneSnapshot returns the snapshot of that handle, if it is there and of that volume (any where it is
// empty).
func (s *Server) oneSnapshot(ctx context.Context, handle, source string) ([]volume.Snapshot, error) {
	sn, err := s.findSnapshot(ctx, handle)
	if volume.Is(err, volume.NotFound) {
		return nil, nil
	}
	if err == nil {
		err = sn.Intact()
	}
	if err != nil {
		return nil, err
	}
	if source != "" && source != sn.Volume.String() {
		return nil, nil
	}
	return []volume.Snapshot{sn}, nil
}

// snapshotsOf returns a page of the snapshots of one volume, which may be gone. They are in its pool.
func (s *Server) snapshotsOf(ctx context.Context, source string, from volume.ID, limit int) ([]volume.Snapshot, string, error) {
	id, err := volume.ParseID(source)
	if err != nil {
		return nil, "", nil
	}
	p, err := s.pools.SnapshotterOf(id)
	if err != nil {
		return nil, "", nil
	}
	return page([]pool.Pool{p}, from, limit, ofVolume(ctx, id), snapshotID)
}

type listSnapshots = func(p pool.Pool, after string, limit int) ([]volume.Snapshot, error)

func everySnapshot(ctx context.Context) listSnapshots {
	return func(p pool.Pool, after string, limit int) ([]volume.Snapshot, error) {
		snapshots, ok := p.(pool.Snapshotter)
		if !ok {
			return nil, nil
		}
		return snapshots.ListSnapshots(ctx, after, limit)
	}
}

// chunk is how many snapshots are read at once in search of those of one volume.
const chunk = 500

func ofVolume(ctx context.Context, source volume.ID) listSnapshots {
	return func(p pool.Pool, after string, limit int) ([]volume.Snapshot, error) {
		var found []volume.Snapshot
		for {
			read, err := everySnapshot(ctx)(p, after, chunk)
			if err != nil {
				return nil, err
			}
			last := len(read) < chunk
			if !last {
				after = read[len(read)-1].ID.Name
			}
			found = append(found, slices.DeleteFunc(read, func(sn volume.Snapshot) bool { return sn.Volume != source })...)
			if last || (limit > 0 && len(found) >= limit) {
				return found, nil
			}
		}
	}
}
