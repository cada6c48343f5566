package controller

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// place returns the pool in which the volume of the given name is made. The kind of its error is
// Invalid for a pool that is not configured or not that of the source, NotFound for a source that
// cannot be here, Full where the topology asks for another node, and Exists where the name is taken.
func (s *Server) place(ctx context.Context, name string, spec volume.Spec, topology *csi.TopologyRequirement) (pool.Pool, error) {
	p, err := s.poolFor(spec)
	if err != nil {
		return nil, err
	}
	getVolume := func(p pool.Pool, id volume.ID) error {
		_, err := p.Get(ctx, id)
		return err
	}
	if err := s.checkTopology(topology); err != nil {
		holder, failed := s.holder(name, "", getVolume)
		switch {
		case failed != nil:
			return nil, failed
		case holder != nil:
			return nil, volume.Errorf(volume.Exists, "volume %q exists already, but %w", s.id(holder, name), err)
		}
		return nil, err
	}
	holder, err := s.holder(name, p.Name(), getVolume)
	switch {
	case err != nil && !volume.Is(err, volume.Unavailable) && spec.Parameters.Pool == "" && spec.Source == nil:
		return nil, err
	case holder == nil: // also where another pool cannot be read, for a dead disk stops no other
		return p, nil
	case spec.Parameters.Pool == "":
		return holder, nil // it may have been made before another pool became the first one; Create compares
	}
	return nil, volume.Errorf(volume.Exists, "volume %q exists already, and not in pool %q", s.id(holder, name), p.Name())
}

// poolFor returns the pool that spec asks for. A copy is made beside its source, for what a pool
// copies from is in the pool.
func (s *Server) poolFor(spec volume.Spec) (pool.Pool, error) {
	named, err := s.pools.Named(spec.Parameters.Pool)
	if err != nil || spec.Source == nil {
		return named, err
	}
	p, err := s.pools.Of(spec.Source.ID)
	if err != nil {
		return nil, err
	}
	if spec.Parameters.Pool != "" && p.Name() != named.Name() {
		return nil, volume.Errorf(volume.Invalid, "%s is in pool %q, and a copy is made in the pool of its source: parameter %q cannot be %q",
			spec.Source, p.Name(), volume.KeyPool, named.Name())
	}
	return p, nil
}

// holder returns a pool, other than the one called except, that holds the name; nil if none does. A
// name means one thing on a machine and not one per pool: a request repeated with another pool must
// not make a second thing (spec, CreateVolume, "Volume already exists but is incompatible"). So a pool
// that cannot say is an error, of the kind that the pool gave it, unless another one holds the name.
func (s *Server) holder(name, except string, get func(pool.Pool, volume.ID) error) (pool.Pool, error) {
	var unknown error
	for _, p := range s.pools.All() {
		if p.Name() == except {
			continue
		}
		switch err := get(p, s.id(p, name)); {
		case err == nil:
			return p, nil
		case !volume.Is(err, volume.NotFound) && (unknown == nil || volume.Is(unknown, volume.Unavailable)):
			unknown = volume.Errorf(volume.KindOf(err), "whether %q exists already cannot be told: %w", s.id(p, name), err)
		}
	}
	return nil, unknown
}

// id returns the ID of the thing requested under the given name in a pool.
func (s *Server) id(p pool.Pool, name string) volume.ID {
	return volume.ID{Node: s.pools.Node(), Pool: p.Name(), Name: volume.NameFor(name)}
}
