package fleet

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// A node that says that it has a volume of the name which is to be made may be right: another replica, or an earlier attempt, may
// have made it there. Or somebody has taken the node over, and it would have the claims of the cluster. So the node that the
// request asks for comes first, and another one is believed only where that has nothing of the name.

// ignored reports whether nothing is believed that the node says it has.
func (f *Fleet) ignored(node string) bool { return slices.Contains(f.config.Ignored, node) }

// claimant returns the node that has a volume of that name, or is making it; nil if none does. The kind of its error is Exists where
// a node says so that the request cannot have led to, and Unavailable where a node that may have the volume cannot be asked.
func (f *Fleet) claimant(ctx context.Context, name string, req *csi.CreateVolumeRequest) (*node, error) {
	asked, err := f.askedFor(ctx, req)
	if err != nil {
		return nil, err
	}
	holders := f.names.holders(aVolume(name))
	there, away := f.node(asked)
	if away == nil && there.contents.holds(aVolume(name)) {
		return there, f.hidden(ctx, there, name)
	}
	for _, c := range holders {
		n, err := f.node(c.node)
		if err != nil || n.contents != c || f.ignored(n.name) {
			continue
		}
		if asked == "" { // it says itself that its volume is not where it is asked for
			return n, f.hidden(ctx, n, name)
		}
		if err := mayHave(n, name, asked, req); err != nil {
			return nil, err
		}
		if away == nil {
			holds, err := f.says(ctx, there, n, name, req)
			if holds || err != nil {
				return there, err
			}
		} else if err := f.stayedAway([]string{asked}); err != nil {
			return nil, err
		}
		if f.config.Cluster != nil {
			f.config.Cluster.Report(ctx, "VolumeElsewhere", "volume "+name+" is asked for on node "+asked+", which has none of that name, and taken from node "+n.name+", which says that it has it")
		}
		return n, f.hidden(ctx, n, name)
	}
	return nil, f.heldAway(ctx, name)
}

// askedFor returns the name of the node that a request leads to: that of its source, else the one that the scheduler has chosen; empty
// where it may be any. The kind of its error is Unavailable, or NotFound, where the source's is not there.
func (f *Fleet) askedFor(ctx context.Context, req *csi.CreateVolumeRequest) (string, error) {
	source, err := f.sourceNode(ctx, req)
	switch first := req.GetAccessibilityRequirements().GetPreferred(); {
	case err != nil:
		return "", err
	case source != nil:
		return source.name, nil
	case f.config.FirstOnly && len(first) > 0:
		return nodeOf(first[0]), nil
	}
	return "", nil
}

// mayHave says whether a request can have led to a node at all; asked is the node that it leads to, where that is known. The kind
// of its error is Exists.
func mayHave(n *node, name, asked string, req *csi.CreateVolumeRequest) error {
	requisite := req.GetAccessibilityRequirements().GetRequisite()
	inside := len(requisite) == 0 || slices.ContainsFunc(requisite, func(t *csi.Topology) bool { return nodeOf(t) == n.name })
	copied := req.GetVolumeContentSource() != nil && asked != "" && asked != n.name // a copy is made where its source is
	if inside && !copied {
		return nil
	}
	if asked == "" {
		names := make([]string, len(requisite))
		for i, t := range requisite {
			names[i] = nodeOf(t)
		}
		asked = strings.Join(names, ", ")
	}
	return volume.Errorf(volume.Exists, "volume %q is asked for on node %s, and node %q says that it has one of that name: look there (loam volumes), and delete it or, if the node is not to be believed, start the controllers with --ignore-node %s", name, asked, n.name, n.name)
}

// says asks the node that a request leads to whether it has the volume, or is making it. The kind of its error is Unavailable where it
// does not say: then the other node cannot be believed either.
func (f *Fleet) says(ctx context.Context, asked, other *node, name string, req *csi.CreateVolumeRequest) (holds bool, err error) {
	if !f.hearFrom(ctx, asked, time.Now()) {
		return false, volume.Errorf(volume.Unavailable, "volume %q is asked for on node %q, which does not say whether it has it, and node %q says that it has it: ask again when the first one answers", name, asked.name, other.name)
	}
	if asked.contents.holds(aVolume(name)) {
		return true, f.hidden(ctx, asked, name)
	}
	return false, f.undecidedIn(asked, name, kindOf(req.GetParameters(), nil).pool)
}
