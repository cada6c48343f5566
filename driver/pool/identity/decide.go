package identity

import (
	"github.com/loam-storage/loam/driver/volume"
)

// Place is where a pool is to be, as the configuration says.
type Place struct {
	Pool, Node string
	Kind       Kind
	Where      string // in messages: the directory or volume group, as in: directory "/srv/fast"
	Create     bool   // where there is no pool, one is to be made
}

// Found is what is at that place. The zero value is nothing.
type Found struct {
	Identity *Identity // nil: none is there
	Earlier  bool      // without an identity: it is certainly a pool of a release that wrote none
}

// Decision is what is to be done with what was found.
type Decision string

// The decisions.
const (
	Open  Decision = "open"  // it is the pool
	Adopt Decision = "adopt" // it is the pool of an earlier release, and gets an identity
	Make  Decision = "make"  // nothing is there, and a pool is to be
)

// Decide says what to do. It changes nothing. The kind of its error is Unavailable: what is there is not the pool,
// or the pool is not there, and the message says what to do about it.
func (s Store) Decide(at Place, found Found) (Decision, error) {
	known, err := s.Known(at.Pool)
	switch {
	case err != nil:
		return "", err
	case found.Identity != nil:
		return Open, s.same(at, *found.Identity, known)
	case known != nil && found.Earlier:
		return "", volume.Errorf(volume.Unavailable, "%s holds a pool without an identity, and the one that this machine has opened under that name is %s, at %s: put that one back; or, if this is it and its identity was lost, or is to take its place, first run: loam pools --forget %s",
			at.Where, known.Pool, known.Where, at.Pool)
	case known != nil:
		return "", volume.Errorf(volume.Unavailable, "it is not in %s: this machine has opened %s, at %s: mount its disk, or put back what was moved. If it is gone for good, and a new, empty pool is to take its place, first run: loam pools --forget %s",
			at.Where, known.Pool, known.Where, at.Pool)
	case found.Earlier:
		return Adopt, nil
	case at.Create:
		return Make, nil
	default:
		return "", volume.Errorf(volume.Unavailable, "there is no pool in %s: mount its disk; or, if a new one is to be made there, say so in the configuration with \"create: true\"", at.Where)
	}
}

// same says whether the identity that was found is that of the pool that is to be there.
func (s Store) same(at Place, found Identity, known *Known) error {
	wrong := func(format string, args ...any) error { return volume.Errorf(volume.Unavailable, format, args...) }
	switch {
	case found.Node != at.Node:
		return wrong("%s holds %s, and this is node %q: its volumes belong to that node. Take the disk there, or, if this machine is to be that node again, give it its name", at.Where, found, at.Node)
	case found.Pool != at.Pool:
		return wrong("%s holds %s: a copy of it, or the directory or volume group of another pool. Give the pool a place of its own, or that name", at.Where, found)
	case found.Kind != at.Kind:
		return wrong("%s holds %s, and the configuration says %s: change it back", at.Where, found, at.Kind)
	case known != nil && known.Pool.ID != found.ID:
		return wrong("%s holds %s, and the one that this machine has opened under that name is %s, at %s: put that one back, or, if the one that is there now is to take its place, first run: loam pools --forget %s",
			at.Where, found, known.Pool, known.Where, at.Pool)
	}
	other, err := s.knownAs(found.ID, at.Pool)
	if err == nil && other != nil {
		err = wrong("%s holds %s, and this machine has opened the pool of that id as %s, at %s: one is a copy of the other. Take the copy away; or, if it was renamed, first run: loam pools --forget %s",
			at.Where, found, other.Pool, other.Where, other.Pool.Pool)
	}
	return err
}
