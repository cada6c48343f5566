package controller

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// ListVolumes returns the volumes of all pools in the order of their handles, a page at a time.
func (s *Server) ListVolumes(ctx context.Context, req *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	limit, err := parseMaxEntries(req.GetMaxEntries())
	if err != nil {
		return nil, err
	}
	from, err := s.parseToken(req.GetStartingToken())
	if err != nil {
		return nil, err
	}
	list := func(p pool.Pool, after string, limit int) ([]volume.Volume, error) { return p.List(ctx, after, limit) }
	volumes, next, err := page(s.pools.Sorted(), from, limit, list, func(v volume.Volume) volume.ID { return v.ID })
	if err != nil {
		return nil, err
	}
	answer := &csi.ListVolumesResponse{Entries: make([]*csi.ListVolumesResponse_Entry, len(volumes)), NextToken: next}
	for i, v := range volumes {
		answer.Entries[i] = &csi.ListVolumesResponse_Entry{
			Volume: s.volume(v),
			Status: &csi.ListVolumesResponse_VolumeStatus{PublishedNodeIds: publishedOn(v)},
		}
	}
	return answer, nil
}
