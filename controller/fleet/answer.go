package fleet

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// caller makes the calls to one node. Every answer comes through here, and is passed on only if it is about that node:
// one that somebody has taken over must not get at what is on others, such as by a handle that is deleted later.
type caller struct {
	grpc.ClientConnInterface
	node string
}

// Invoke is one call. The kind of its error is Internal for an answer that is not about the node, and Unavailable where
// the connection failed. An error that the node answered is untouched, also its UNAVAILABLE.
func (c caller) Invoke(ctx context.Context, method string, req, answer any, opts ...grpc.CallOption) error {
	var header, trailer metadata.MD
	err := c.ClientConnInterface.Invoke(ctx, method, req, answer, append(opts, grpc.Header(&header), grpc.Trailer(&trailer))...)
	switch {
	case status.Code(err) == codes.Unavailable && len(header)+len(trailer) == 0: // a node's answer has a content type
		return volume.Errorf(volume.Unavailable, "node %q: its connection does not take the call or has ended (%s): ask again", c.node, status.Convert(err).Message())
	case err != nil:
		return legible(err)
	}
	if foreign := foreignTo(c.node, answer); foreign != "" {
		klog.FromContext(ctx).Error(nil, "refused an answer of a node that is not about that node", "node", c.node, "method", method, "foreign", foreign)
		return volume.Errorf(volume.Internal, "node %q answered with %s, which is not its own: the answer is not used; find out what runs on that node", c.node, foreign)
	}
	return nil
}

// maxMessageBytes is how much of what a node says in an error is passed on.
const maxMessageBytes = 4 << 10

// legible returns an error that a node answered without what would garble a log or a terminal: it ends up in the log of
// this controller, of the sidecars and in events. Its code stays, its details do not: nobody reads any.
func legible(err error) error {
	s := status.Convert(err)
	return status.Error(s.Code(), volume.Printable(s.Message(), maxMessageBytes))
}

// foreignTo returns what an answer has that is not of the node: a handle, a topology or a node that a volume is
// attached to; empty where all is.
func foreignTo(node string, answer any) string {
	w := &witness{node: node}
	if a, any := answer.(interface{ GetVolume() *csi.Volume }); any {
		w.volume(a.GetVolume())
	}
	if a, any := answer.(interface{ GetSnapshot() *csi.Snapshot }); any {
		w.snapshot(a.GetSnapshot())
	}
	switch a := answer.(type) {
	case *csi.ControllerGetVolumeResponse:
		w.nodes(a.GetStatus().GetPublishedNodeIds())
	case *csi.ListVolumesResponse:
		for _, e := range a.GetEntries() {
			w.volume(e.GetVolume())
			w.nodes(e.GetStatus().GetPublishedNodeIds())
		}
	case *csi.ListSnapshotsResponse:
		for _, e := range a.GetEntries() {
			w.snapshot(e.GetSnapshot())
		}
	}
	if a, any := answer.(interface {
		GetGroupSnapshot() *csi.VolumeGroupSnapshot
	}); any {
		w.handle(a.GetGroupSnapshot().GetGroupSnapshotId())
		for _, s := range a.GetGroupSnapshot().GetSnapshots() {
			w.snapshot(s)
		}
	}
	return w.foreign
}

// witness keeps the first thing that is not of its node.
type witness struct{ node, foreign string }

func (w *witness) volume(v *csi.Volume) {
	w.handle(v.GetVolumeId())
	w.topology(v.GetAccessibleTopology())
	if len(v.GetAccessibleTopology()) == 0 { // it would be usable from everywhere
		w.found("volume without a topology", v.GetVolumeId())
	}
}

func (w *witness) snapshot(s *csi.Snapshot) {
	w.handle(s.GetSnapshotId())
	w.topology(s.GetAccessibleTopology())
	if s.GetGroupSnapshotId() != "" {
		w.handle(s.GetGroupSnapshotId())
	}
}

func (w *witness) handle(handle string) {
	if id, err := volume.ParseID(handle); err != nil || id.Node != w.node {
		w.found("handle", handle)
	}
}

func (w *witness) topology(all []*csi.Topology) {
	for _, t := range all {
		if len(t.GetSegments()) != 1 || nodeOf(t) != w.node {
			w.found("topology", t.String())
		}
	}
}

func (w *witness) nodes(all []string) {
	for _, name := range all {
		if name != w.node {
			w.found("attached node", name)
		}
	}
}

func (w *witness) found(what, which string) {
	if w.foreign == "" {
		w.foreign = fmt.Sprintf("%s %.200q", what, which)
	}
}
