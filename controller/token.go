package controller

import (
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// A paging token is the handle of the last entry answered: the next page begins behind it, whether
// what it names is still there or not.

// parseToken reads a starting_token; the empty one is the zero ID, which lies before everything. The
// kind of its error is Busy (ABORTED in CSI), which tells the caller to begin again.
func (s *Server) parseToken(token string) (volume.ID, error) {
	if token == "" {
		return volume.ID{}, nil
	}
	id, err := volume.ParseID(token)
	if err != nil || id.Node != s.pools.Node() {
		return volume.ID{}, volume.Errorf(volume.Busy, "starting_token %.128q is none that this node gave: list again from the start", token)
	}
	return id, nil
}

// page returns at most limit entries (all where it is 0) of the pools, which are in the order of
// their names, beginning behind from, and the token with which to go on; an empty one at the end.
// Each pool is asked only for what is still missing, and for one more, which tells whether there is
// another page.
func page[T any](pools []pool.Pool, from volume.ID, limit int, list func(p pool.Pool, after string, limit int) ([]T, error), id func(T) volume.ID) ([]T, string, error) {
	var entries []T
	for _, p := range pools {
		if p.Name() < from.Pool {
			continue
		}
		after, missing := "", 0
		if p.Name() == from.Pool {
			after = from.Name
		}
		if limit > 0 {
			missing = limit + 1 - len(entries)
		}
		more, err := list(p, after, missing)
		if err != nil {
			return nil, "", err
		}
		entries = append(entries, more...)
		if limit > 0 && len(entries) > limit {
			return entries[:limit], id(entries[limit-1]).String(), nil
		}
	}
	return entries, "", nil
}
