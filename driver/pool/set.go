package pool

import (
	"context"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/volume"
)

// Set is the pools of one machine, in the order of the configuration. The first one is where a
// volume goes that names no pool.
type Set struct {
	node  string
	pools []Pool
}

// NewSet returns the pools of the given node. The kind of its error is Invalid: no pool, a name that
// cannot name one, or a name used twice.
func NewSet(node string, pools ...Pool) (*Set, error) {
	if len(pools) == 0 {
		return nil, volume.Errorf(volume.Invalid, "no pool is configured: name at least one under \"pools\"")
	}
	for i, p := range pools {
		if err := volume.CheckPoolName(p.Name()); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(pools[:i], func(q Pool) bool { return q.Name() == p.Name() }) {
			return nil, volume.Errorf(volume.Invalid, "pool %q is configured twice", p.Name())
		}
	}
	return &Set{node: node, pools: slices.Clone(pools)}, nil
}

// Node returns the name of the machine.
func (s *Set) Node() string { return s.node }

// All returns the pools in the order of the configuration.
func (s *Set) All() []Pool { return slices.Clone(s.pools) }

// Sorted returns the pools in the order of their names, which is the order of their IDs.
func (s *Set) Sorted() []Pool {
	return slices.SortedFunc(slices.Values(s.pools), func(a, b Pool) int { return strings.Compare(a.Name(), b.Name()) })
}

// Named returns the pool of the given name, the first one where it is empty. The kind of its error
// is Invalid, for the name comes from a StorageClass.
func (s *Set) Named(name string) (Pool, error) {
	if name == "" {
		return s.pools[0], nil
	}
	i := slices.IndexFunc(s.pools, func(p Pool) bool { return p.Name() == name })
	if i < 0 {
		return nil, volume.Errorf(volume.Invalid, "pool %q is not configured on node %q, which has %s", name, s.node, s.names())
	}
	return s.pools[i], nil
}

// Of returns the pool that id lives in. The kind of its error is NotFound.
func (s *Set) Of(id volume.ID) (Pool, error) {
	if id.Node != s.node {
		return nil, volume.Errorf(volume.NotFound, "%q is on node %q; this is node %q", id, id.Node, s.node)
	}
	i := slices.IndexFunc(s.pools, func(p Pool) bool { return p.Name() == id.Pool })
	if i < 0 {
		return nil, volume.Errorf(volume.NotFound, "%q is in pool %q, which is not configured on node %q", id, id.Pool, s.node)
	}
	return s.pools[i], nil
}

// SnapshotterOf returns the pool that id lives in as one that takes snapshots. The kind of its error
// is NotFound or Unsupported.
func (s *Set) SnapshotterOf(id volume.ID) (Snapshotter, error) {
	p, err := s.Of(id)
	if err != nil {
		return nil, err
	}
	snapshotter, ok := p.(Snapshotter)
	if !ok {
		return nil, volume.Errorf(volume.Unsupported, "pool %q cannot take snapshots", p.Name())
	}
	return snapshotter, nil
}

// Find parses a CSI volume handle and returns its pool and the volume. The kind of its error is
// NotFound where any of them is not there.
func (s *Set) Find(ctx context.Context, handle string) (Pool, volume.Volume, error) {
	id, err := volume.ParseID(handle)
	if err != nil {
		return nil, volume.Volume{}, err
	}
	p, err := s.Of(id)
	if err != nil {
		return nil, volume.Volume{}, err
	}
	v, err := p.Get(ctx, id)
	return p, v, err
}

func (s *Set) names() string {
	names := make([]string, len(s.pools))
	for i, p := range s.pools {
		names[i] = p.Name()
	}
	return strings.Join(names, ", ")
}
