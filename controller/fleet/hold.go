package fleet

import "github.com/loam-storage/loam/driver/volume"

// hold lets one call at a time make a thing of a name: a second one could choose another node. The kind of its error is
// Busy.
func (f *Fleet) hold(what, name string) (release func(), err error) {
	key := what + " " + name
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held[key] {
		return nil, volume.Errorf(volume.Busy, "%s %q is being made by a call that has not ended: ask again", what, name)
	}
	f.held[key] = true
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.held, key)
	}, nil
}
