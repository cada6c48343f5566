package fleet

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// choice is the nodes that a new volume may be made on, in the order in which they are tried.
type choice struct {
	fleet     *Fleet
	kind      kind
	bytes     int64
	preferred []*node // tried first, in this order
	others    []*node // then those with room, that with the most first
	ranked    bool
	unfit     int     // how many were tried that said they have no room
	lacking   []*node // have no such pool
	asked     string  // what the topology asked for, for an error
}

// choose reads the topology. The kind of its error is Unavailable where a node that is asked for may only
// not have connected yet, or where none is connected, and Full where none that is asked for is there.
func (f *Fleet) choose(req *csi.CreateVolumeRequest) (*choice, error) {
	all := f.members()
	if len(all) == 0 {
		return nil, volume.Errorf(volume.Unavailable, "no node is connected: none of the cluster's loam nodes runs, or none can reach this controller")
	}
	c := &choice{fleet: f, kind: kindOf(req.GetParameters(), req.GetVolumeCapabilities()), bytes: least(req.GetCapacityRange())}
	topology := req.GetAccessibilityRequirements()
	requisite := named{found: all}
	if len(topology.GetRequisite()) > 0 {
		requisite = nodesOf(all, topology.GetRequisite())
	}
	preferred := nodesOf(all, topology.GetPreferred())
	if err := f.settled(topology, slices.Concat(requisite.missing, preferred.missing)); err != nil {
		return nil, err
	}
	if first := topology.GetPreferred(); f.config.FirstOnly && len(first) > 0 {
		chosen := nodesOf(all, first[:1])
		if err := f.stayedAway(chosen.missing); err != nil {
			return nil, err
		}
		c.preferred, c.asked = chosen.found, strings.Join(chosen.missing, "")
	} else {
		c.preferred = slices.DeleteFunc(preferred.found, func(n *node) bool { return !requisite.has(n) })
		c.others = slices.DeleteFunc(slices.Clone(requisite.found), func(n *node) bool { return preferred.in[n] })
		c.asked = strings.Join(requisite.missing, ", ")
	}
	if len(c.preferred)+len(c.others) == 0 {
		return nil, c.nowhere()
	}
	return c, nil
}

// least returns how many bytes a volume has at least that meets the range.
func least(r *csi.CapacityRange) int64 {
	switch {
	case r.GetRequiredBytes() > 0:
		return r.GetRequiredBytes()
	case r.GetLimitBytes() > 0:
		return min(r.GetLimitBytes(), int64(volume.DefaultSize))
	}
	return int64(volume.DefaultSize)
}

// settled says whether to go on without the nodes that are missing. In its first seconds a controller does not:
// one that has not connected yet may have the volume. The kind of its error is Unavailable.
func (f *Fleet) settled(topology *csi.TopologyRequirement, missing []string) error {
	if time.Since(f.started) >= f.config.Settle {
		return nil
	}
	for _, name := range missing {
		if !f.wasHere(name, time.Time{}) {
			return volume.Errorf(volume.Unavailable, "node %q has not connected yet, and may have the volume: ask again", name)
		}
	}
	if len(topology.GetRequisite()) == 0 && f.config.Cluster != nil {
		return volume.Errorf(volume.Unavailable, "nodes may not all have connected yet, and one of them may have the volume: ask again")
	}
	return nil
}

// stayedAway says whether a node that is missing is more than about to be back, as it is when it is started again. The
// kind of its error is Unavailable.
func (f *Fleet) stayedAway(missing []string) error {
	for _, name := range missing {
		if f.wasHere(name, time.Now().Add(-f.config.Settle)) {
			return volume.Errorf(volume.Unavailable, "node %q has just left: ask again", name)
		}
	}
	return nil
}

// wasHere reports whether a node that is away was still connected after t.
func (f *Fleet) wasHere(name string, t time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.away[name]
	return c != nil && c.leftSince(t)
}

// named is the nodes that topologies name, each once and in their order.
type named struct {
	found   []*node
	missing []string // those that are not connected
	in      map[*node]bool
}

// has reports whether a node is among those found; where nothing was named, all are.
func (d named) has(n *node) bool { return d.in == nil || d.in[n] }

func nodesOf(all []*node, topologies []*csi.Topology) named {
	d := named{in: map[*node]bool{}}
	for _, t := range topologies {
		name := nodeOf(t)
		i, connected := find(all, name)
		switch {
		case !connected && name != "":
			d.missing = append(d.missing, name)
		case connected && !d.in[all[i]]:
			d.found, d.in[all[i]] = append(d.found, all[i]), true
		}
	}
	return d
}

// nodeOf returns the node that a topology names, empty for one that is none of ours. Keys do not mind case
// (spec, "Topology").
func nodeOf(t *csi.Topology) (name string) {
	for key, value := range t.GetSegments() {
		if !strings.EqualFold(key, volume.TopologyKey) {
			return ""
		}
		name = value
	}
	return name
}

// nowhere says why there is nothing to try. The kind of the error is Full.
func (c *choice) nowhere() error {
	switch {
	case len(c.lacking) > 0:
		return volume.Errorf(volume.Full, "node %q has no pool for these parameters; other nodes have, and the topology does not ask for them", c.lacking[0].name)
	case c.asked != "":
		return volume.Errorf(volume.Full, "of the nodes that the topology asks for none is connected (%.200s)", c.asked)
	}
	return volume.Errorf(volume.Full, "no node lies in the topology asked for: loam knows {%s: <node>}", volume.TopologyKey)
}

// maxUnfit is how many nodes are tried that said they have no room: to have them say why, and because what they said is
// some seconds old.
const maxUnfit = 3

// next returns the node to try next, nil at the end, with the room for the volume set aside until done is
// called with whether the volume was made.
func (c *choice) next(ctx context.Context) (n *node, done func(made bool)) {
	for len(c.preferred) > 0 {
		n, c.preferred = c.preferred[0], c.preferred[1:]
		if c.fleet.ask(ctx, []*node{n}, c.kind); n.room(c.kind).lacks {
			c.lacking = append(c.lacking, n)
			continue
		}
		return n, n.setAside(c.kind, c.bytes)
	}
	if !c.ranked {
		c.fleet.ask(ctx, c.others, c.kind)
		c.ranked = true
	}
	c.fleet.placing.Lock() // two creates at once must not both see the same room
	defer c.fleet.placing.Unlock()
	best, most := -1, capacity{}
	for i, n := range c.others {
		if room := n.room(c.kind); !room.lacks && (best < 0 || room.before(most, c.bytes)) {
			best, most = i, room
		}
	}
	if best < 0 {
		c.lacking = append(c.lacking, c.others...)
		c.others = nil
		return nil, nil
	}
	if !most.fits(c.bytes) {
		if c.unfit++; c.unfit > maxUnfit {
			return nil, nil
		}
	}
	n = c.others[best]
	c.others = slices.Delete(c.others, best, best+1)
	return n, n.setAside(c.kind, c.bytes)
}

// poolElsewhere reports whether a node outside of the topology has a pool for such volumes.
func (c *choice) poolElsewhere(ctx context.Context) bool {
	all := c.fleet.members()
	c.fleet.ask(ctx, all, c.kind)
	return slices.ContainsFunc(all, func(n *node) bool { room := n.room(c.kind); return !room.lacks && !room.silent })
}
