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
	preferred []*node         // tried first, in this order
	others    []*node         // then those with room, that with the most first; nil: all
	skip      map[string]bool // by name: what others has and is not to be tried, or has been
	asking    bool            // the others have been asked how much room they have
	unfit     int             // how many were tried that said they have no room
	lacking   []*node         // have no such pool
	asked     string          // what the topology asked for, for an error
}

// choose reads the topology. The kind of its error is Unavailable where a node that is asked for may only
// not have connected yet, or where none is connected, and Full where none that is asked for is there.
func (f *Fleet) choose(req *csi.CreateVolumeRequest) (*choice, error) {
	if f.Count() == 0 {
		return nil, volume.Errorf(volume.Unavailable, "no node is connected: none of the cluster's loam nodes runs, or none can reach this controller")
	}
	c := &choice{fleet: f, kind: kindOf(req.GetParameters(), req.GetVolumeCapabilities()), bytes: least(req.GetCapacityRange()), skip: map[string]bool{}}
	topology := req.GetAccessibilityRequirements()
	var requisite named
	if len(topology.GetRequisite()) > 0 {
		requisite = f.nodesOf(topology.GetRequisite())
	}
	preferred := f.nodesOf(topology.GetPreferred())
	if err := f.settled(topology, slices.Concat(requisite.missing, preferred.missing)); err != nil {
		return nil, err
	}
	if first := topology.GetPreferred(); f.config.FirstOnly && len(first) > 0 {
		chosen := f.nodesOf(first[:1])
		if err := f.stayedAway(chosen.missing); err != nil {
			return nil, err
		}
		c.preferred, c.others, c.asked = chosen.found, []*node{}, strings.Join(chosen.missing, "")
	} else {
		c.preferred = slices.DeleteFunc(preferred.found, func(n *node) bool { return !requisite.has(n) })
		c.others, c.asked = requisite.found, strings.Join(requisite.missing, ", ")
		for n := range preferred.in {
			c.skip[n.name] = true
		}
	}
	if len(c.preferred) == 0 && c.others != nil && len(c.others) == 0 {
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
	found   []*node  // nil where there are no topologies
	missing []string // those that are not connected
	in      map[*node]bool
}

// has reports whether a node is among those found; where nothing was named, all are.
func (d named) has(n *node) bool { return d.in == nil || d.in[n] }

func (f *Fleet) nodesOf(topologies []*csi.Topology) named {
	d := named{found: []*node{}, in: map[*node]bool{}}
	for _, t := range topologies {
		name := nodeOf(t)
		n, err := f.node(name)
		switch {
		case err != nil && name != "":
			d.missing = append(d.missing, name)
		case err == nil && !d.in[n]:
			d.found, d.in[n] = append(d.found, n), true
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

// tries reports whether a node is one of those that may be tried.
func (c *choice) tries(n *node) bool {
	return slices.Contains(c.preferred, n) || (c.others == nil || slices.Contains(c.others, n)) && !c.skip[n.name]
}

// maxUnfit is how many nodes are tried that said they have no room: to have them say why, and because what they said is
// some seconds old.
const maxUnfit = 3

// next returns the node to try next, nil at the end, with the room for the volume set aside until done is
// called with whether the volume was made.
func (c *choice) next(ctx context.Context) (n *node, done func(made bool)) {
	capacities := c.fleet.capacities
	for len(c.preferred) > 0 {
		n, c.preferred = c.fleet.current(c.preferred[0]), c.preferred[1:]
		if c.fleet.ask(ctx, []*node{n}, c.kind); capacities.room(n, c.kind).lacks {
			c.lacking = append(c.lacking, n)
			continue
		}
		return n, capacities.reserve(n, c.kind, c.bytes)
	}
	if !c.asking {
		c.fleet.ask(ctx, c.others, c.kind)
		c.fleet.refresh(c.kind)
		c.asking = true
		for i, n := range c.others {
			c.others[i] = c.fleet.current(n) // it may have connected anew while it was asked
		}
	}
	n, fits, lacks, done := capacities.take(c.kind, c.bytes, c.others, c.skip, c.unfit < maxUnfit)
	if lacks != nil {
		c.lacking = append(c.lacking, lacks)
	}
	if n == nil {
		return nil, nil
	}
	if !fits {
		c.unfit++
	}
	c.skip[n.name] = true
	return n, done
}

// poolElsewhere reports whether a node outside of the topology has a pool for such volumes.
func (c *choice) poolElsewhere(ctx context.Context) bool {
	c.fleet.ask(ctx, nil, c.kind)
	return c.fleet.capacities.anyHas(c.kind)
}
