package controller

import (
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// accessible returns from where what is on this machine can be used: from here.
func (s *Server) accessible() []*csi.Topology {
	return []*csi.Topology{{Segments: map[string]string{volume.TopologyKey: s.pools.Node()}}}
}

// isHere reports whether this machine lies in the topology. A segment that is not ours is somewhere
// else. Keys do not mind case (spec, "Topology").
func (s *Server) isHere(t *csi.Topology) bool {
	for key, value := range t.GetSegments() {
		if !strings.EqualFold(key, volume.TopologyKey) || value != s.pools.Node() {
			return false
		}
	}
	return true
}

// checkTopology says whether something on this machine meets the requirement. What is only preferred
// is no requirement. The kind of its error is Full (RESOURCE_EXHAUSTED in CSI), which makes a
// scheduler look again.
func (s *Server) checkTopology(r *csi.TopologyRequirement) error {
	requisite := r.GetRequisite()
	if len(requisite) == 0 || slices.ContainsFunc(requisite, s.isHere) {
		return nil
	}
	return volume.Errorf(volume.Full, "none of the %d topologies asked for is {%s: %s}, which is the only one that this node can serve",
		len(requisite), volume.TopologyKey, s.pools.Node())
}
