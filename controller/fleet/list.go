package fleet

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// Lists go through the nodes in the order of their names, so they are in the order of the handles. A paging
// token is the handle of the last entry, as on a node; nodes may come and go between two pages. What is on
// a node that is not connected is not in a list, which says nothing about whether it exists.

// mostEntries is how many entries a page has where the caller sets no limit: a message of gRPC is at most
// 4 MiB.
const mostEntries = 5000

// ListVolumes returns the volumes of all nodes, a page at a time.
func (f *Fleet) ListVolumes(ctx context.Context, req *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	entries, next, err := merge(f, req.GetMaxEntries(), req.GetStartingToken(), func(n *node, limit int32, token string) ([]*csi.ListVolumesResponse_Entry, string, error) {
		r, err := pass(ctx, n, n.controller.ListVolumes, &csi.ListVolumesRequest{MaxEntries: limit, StartingToken: token})
		return r.GetEntries(), r.GetNextToken(), err
	}, func(e *csi.ListVolumesResponse_Entry) string { return e.GetVolume().GetVolumeId() })
	if err != nil {
		return nil, err
	}
	return &csi.ListVolumesResponse{Entries: entries, NextToken: next}, nil
}

// ListSnapshots returns the snapshots of all nodes, a page at a time; or one, or those of one volume, which
// their node is asked for. The kind of its error is Unavailable where that one is not connected: an empty
// list would say that the snapshot is gone.
func (f *Fleet) ListSnapshots(ctx context.Context, req *csi.ListSnapshotsRequest) (*csi.ListSnapshotsResponse, error) {
	for _, handle := range []string{req.GetSnapshotId(), req.GetSourceVolumeId()} {
		if handle == "" {
			continue
		}
		id, err := volume.ParseID(handle)
		if err != nil {
			return &csi.ListSnapshotsResponse{}, nil
		}
		n, err := f.node(id.Node)
		if err != nil {
			return nil, err
		}
		return pass(ctx, n, n.controller.ListSnapshots, req)
	}
	entries, next, err := merge(f, req.GetMaxEntries(), req.GetStartingToken(), func(n *node, limit int32, token string) ([]*csi.ListSnapshotsResponse_Entry, string, error) {
		r, err := pass(ctx, n, n.controller.ListSnapshots, &csi.ListSnapshotsRequest{MaxEntries: limit, StartingToken: token, Secrets: req.GetSecrets()})
		return r.GetEntries(), r.GetNextToken(), err
	}, func(e *csi.ListSnapshotsResponse_Entry) string { return e.GetSnapshot().GetSnapshotId() })
	if err != nil {
		return nil, err
	}
	return &csi.ListSnapshotsResponse{Entries: entries, NextToken: next}, nil
}

// merge collects a page from the nodes. The kind of its error is Busy (ABORTED in CSI) for a token that no
// list has given.
func merge[E any](f *Fleet, limit int32, token string, list func(n *node, limit int32, token string) ([]E, string, error), handle func(E) string) ([]E, string, error) {
	switch {
	case limit < 0:
		return nil, "", volume.Errorf(volume.Invalid, "max_entries is %d: it cannot be negative, 0 asks for all", limit)
	case limit == 0 || limit > mostEntries:
		limit = mostEntries
	}
	var from volume.ID
	if token != "" {
		var err error
		if from, err = volume.ParseID(token); err != nil {
			return nil, "", volume.Errorf(volume.Busy, "starting_token %.128q is none that was given: list again from the start", token)
		}
	}
	var entries []E
	for _, n := range f.members() {
		if n.name < from.Node {
			continue
		}
		at := ""
		if n.name == from.Node {
			at = token
		}
		for more := true; more; {
			missing := limit - int32(len(entries))
			got, next, err := list(n, max(missing, 1), at) // when the page is full, only to learn whether there is another
			switch {
			case volume.Is(err, volume.Unavailable):
				got, next = nil, "" // it has just left
			case err != nil:
				return nil, "", fmt.Errorf("node %q: %w", n.name, err)
			case missing == 0 && len(got) > 0:
				return entries, handle(entries[limit-1]), nil
			}
			entries = append(entries, got...)
			at, more = next, next != ""
		}
	}
	return entries, "", nil
}
