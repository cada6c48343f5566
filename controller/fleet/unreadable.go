package fleet

import (
	"context"
	"time"

	"github.com/loam-storage/loam/driver/volume"
)

// A pool that its node cannot read hides what is in it, and no other. A name that was seen in it, or of which a create there has not
// ended well, is not made elsewhere; all others are.

// rereadAge is for how long a node is believed that it cannot read a pool. Only requests that the pool matters to ask again.
const rereadAge = time.Second

// again asks the node once more what it has, unless it has just said so.
func (f *Fleet) again(ctx context.Context, n *node) {
	f.hearFrom(ctx, n, time.Now().Add(-rereadAge))
}

// hidden says that a volume was seen in a pool of the node that cannot be read now. The kind of its error is Unavailable.
func (f *Fleet) hidden(ctx context.Context, n *node, name string) error {
	if _, why := n.contents.hidden(aVolume(name)); why == "" {
		return nil
	}
	f.again(ctx, n)
	if pool, why := n.contents.hidden(aVolume(name)); why != "" {
		return volume.Errorf(volume.Unavailable, "volume %q is on node %q, in its pool %q, which cannot be read now: %s", name, n.name, pool, why)
	}
	return nil
}

// unreadable says that the pool which a request names, or the default one, cannot be read on the node. The kind of its error is
// Unavailable.
func (f *Fleet) unreadable(ctx context.Context, n *node, named string) error {
	if _, why := n.contents.unreadablePool(named); why == "" {
		return nil
	}
	f.again(ctx, n)
	if pool, why := n.contents.unreadablePool(named); why != "" {
		return volume.Errorf(volume.Unavailable, "node %q cannot read its pool %q now: %s", n.name, pool, why)
	}
	return nil
}

// settledPools says whether to go on without the pools that cannot be read. In its first seconds a controller does not: the volume may
// be in one, and it has not seen what is in there. The kind of its error is Unavailable.
func (f *Fleet) settledPools(ctx context.Context, c *choice) error {
	if time.Since(f.started) >= f.config.Settle {
		return nil
	}
	for _, lost := range f.names.withUnreadable() {
		n, err := f.node(lost.node)
		if err != nil || n.contents != lost || !c.tries(n) {
			continue
		}
		if err := f.unreadable(ctx, n, c.kind.pool); err != nil {
			return volume.Errorf(volume.Unavailable, "%w; this controller has just begun, and the volume may be in there: ask again", err)
		}
	}
	return nil
}

// undecidedIn says that a create on the node may have made the volume in a pool that cannot be read now. The kind of its error
// is Unavailable.
func (f *Fleet) undecidedIn(n *node, name, named string) error {
	if pool, why := n.contents.unreadablePool(named); why != "" {
		return volume.Errorf(volume.Unavailable, "volume %q may have been made on node %q, in its pool %q, which cannot be read now: %s", name, n.name, pool, why)
	}
	return nil
}
