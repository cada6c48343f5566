package fleet

import (
	"context"
	"slices"
	"strings"
	"sync"
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
	others    []*node // then that with the most room first
	ranked    bool
	lacking   []*node // have no such pool; tried last, for the reason that they give
	asked     string  // what the topology asked for, for an error
}

// choose reads the topology. The kind of its error is Unavailable where a node that is asked for may only
// not have connected yet, or where none is connected, and Full where none that is asked for is there.
func (f *Fleet) choose(req *csi.CreateVolumeRequest) (*choice, error) {
	all := f.members()
	if len(all) == 0 {
		return nil, volume.Errorf(volume.Unavailable, "no node is connected: none of the cluster's loam nodes runs, or none can reach this controller")
	}
	c := &choice{fleet: f, kind: kindOf(req.GetParameters(), req.GetVolumeCapabilities()), bytes: req.GetCapacityRange().GetRequiredBytes()}
	topology := req.GetAccessibilityRequirements()
	requisite := named{found: all}
	if len(topology.GetRequisite()) > 0 {
		requisite = nodesOf(all, topology.GetRequisite())
	}
	preferred := nodesOf(all, topology.GetPreferred())
	if err := f.settled(topology, append(requisite.missing, preferred.missing...)); err != nil {
		return nil, err
	}
	if first := topology.GetPreferred(); f.config.FirstOnly && len(first) > 0 {
		chosen := nodesOf(all, first[:1])
		c.preferred, c.asked = chosen.found, strings.Join(chosen.missing, "")
	} else {
		c.preferred = slices.DeleteFunc(preferred.found, func(n *node) bool { return !requisite.has(n) })
		c.others = slices.DeleteFunc(slices.Clone(requisite.found), preferred.has)
		c.asked = strings.Join(requisite.missing, ", ")
	}
	if len(c.preferred)+len(c.others) == 0 {
		return nil, c.nowhere()
	}
	return c, nil
}

// settled says whether to go on without the nodes that are missing. In its first seconds a controller does not:
// one that has not connected yet may have the volume. The kind of its error is Unavailable.
func (f *Fleet) settled(topology *csi.TopologyRequirement, missing []string) error {
	switch {
	case time.Since(f.started) >= f.config.Settle:
		return nil
	case len(missing) > 0:
		return volume.Errorf(volume.Unavailable, "node %q has not connected yet, and may have the volume: ask again", missing[0])
	case len(topology.GetRequisite()) == 0 && f.config.Cluster != nil:
		return volume.Errorf(volume.Unavailable, "nodes may not all have connected yet, and one of them may have the volume: ask again")
	}
	return nil
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
		i, connected := slices.BinarySearchFunc(all, name, func(n *node, name string) int { return strings.Compare(n.name, name) })
		switch {
		case !connected && name != "":
			d.missing = append(d.missing, name)
		case connected && !d.in[all[i]]:
			d.found, d.in[all[i]] = append(d.found, all[i]), true
		}
	}
	return d
}

func (c *choice) nowhere() error {
	if c.asked != "" {
		return volume.Errorf(volume.Full, "of the nodes that the topology asks for none is connected (%.200s)", c.asked)
	}
	return volume.Errorf(volume.Full, "no node lies in the topology asked for: loam knows {%s: <node>}", volume.TopologyKey)
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

// next returns the node to try next, nil at the end, with the room for the volume set aside until done is
// called with whether the volume was made.
func (c *choice) next(ctx context.Context) (n *node, done func(made bool)) {
	for len(c.preferred) > 0 {
		n, c.preferred = c.preferred[0], c.preferred[1:]
		if n.room(ctx, c.kind).lacks {
			c.lacking = append(c.lacking, n)
			continue
		}
		return n, n.setAside(c.kind, c.bytes)
	}
	if !c.ranked {
		each(c.others, func(n *node) { n.room(ctx, c.kind) })
		c.ranked = true
	}
	c.fleet.placing.Lock() // two creates at once must not both see the same room
	defer c.fleet.placing.Unlock()
	best := -1
	var most int64
	for i, n := range c.others {
		if room := n.known(c.kind); !room.lacks && (best < 0 || room.available > most) {
			best, most = i, room.available
		}
	}
	if best >= 0 {
		n = c.others[best]
		c.others = slices.Delete(c.others, best, best+1)
		return n, n.setAside(c.kind, c.bytes)
	}
	if c.lacking = append(c.lacking, c.others...); len(c.lacking) > 0 {
		c.others = nil
		n, c.lacking = c.lacking[0], nil // one says it for all
		return n, func(bool) {}
	}
	return nil, nil
}

// each does something for every node, some at a time.
func each(nodes []*node, do func(*node)) {
	var all sync.WaitGroup
	slots := make(chan struct{}, 64)
	for _, n := range nodes {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			do(n)
		})
	}
	all.Wait()
}
