package fleet

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

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
			if err == nil {
				err = n.checkPage(at, next, max(missing, 1), handles(got, handle))
			}
			if volume.Is(err, volume.Unavailable) {
				before := n
				if n = f.current(n); n == before {
					break // it has just left
				}
				continue // its connection was replaced
			}
			switch {
			case volume.Is(err, volume.OutOfRange):
				klog.Background().Error(err, "the rest of what is on a node is left out of a list", "node", n.name)
				got, next = nil, ""
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

func handles[E any](entries []E, handle func(E) string) []string {
	all := make([]string, len(entries))
	for i, e := range entries {
		all[i] = handle(e)
	}
	return all
}

// maxListed is how many volumes, or snapshots, of one node are listed. It is far more than a node can have; one that
// goes on and on would keep the list of the whole cluster from ever ending.
const maxListed = 1 << 18

// checkPage says whether a node has answered a token with a page of a list. The kind of its error is OutOfRange where it has
// more entries than were asked for, is not in the order of its handles, or never ends: who lists could not go on behind
// it, whosever volumes come next.
func (n *node) checkPage(token, next string, limit int32, handles []string) error {
	wrong := func(format string, args ...any) error {
		return volume.Errorf(volume.OutOfRange, "node %q: its answer is no page of a list: %w", n.name, fmt.Errorf(format, args...))
	}
	if token == "" {
		n.listed.Store(0)
	}
	before := token
	for _, handle := range handles {
		if compareHandles(before, handle) >= 0 {
			return wrong("%.200q comes behind %.200q", handle, before)
		}
		before = handle
	}
	switch listed := n.listed.Add(int64(len(handles))); {
	case len(handles) > int(limit):
		return wrong("it has %d entries, and %d were asked for", len(handles), limit)
	case next != "" && (len(handles) == 0 || next != before):
		return wrong("it goes on at %.200q, and its last entry is %.200q", next, before)
	case listed > maxListed:
		return wrong("there are %d entries by now", listed)
	}
	return nil
}

// compareHandles orders handles of one node as it lists them: by pool, then by name. What is no handle comes first.
func compareHandles(a, b string) int {
	x, _ := volume.ParseID(a)
	y, _ := volume.ParseID(b)
	return cmp.Or(strings.Compare(x.Pool, y.Pool), strings.Compare(x.Name, y.Name))
}
