package loop

import (
	"os"
	"path/filepath"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/volume"
)

// establish makes the directories of a new pool, gives a pool that has none its identity, and has the machine remember
// it: in this order, so that a pool with an identity is whole, and one that is remembered has its identity.
func (p *Pool) establish(d identity.Decision) error {
	how := map[identity.Decision]string{identity.Make: identity.Made, identity.Adopt: identity.Adopted}[d]
	if how != "" {
		if err := p.makeWhole(how); err != nil {
			return err
		}
	}
	found, err := findIn(p.root)
	if err != nil {
		return err
	}
	if found.Identity == nil {
		return volume.Errorf(volume.Unavailable, "%q has just been removed from %q", identityName, p.root)
	}
	if err := p.identify(found); err != nil {
		return err
	}
	// Without them the volumes are gone, and no new, empty directory may say so.
	for _, name := range []string{volumesDir, snapshotsDir, groupsDir} {
		if _, err := os.ReadDir(filepath.Join(p.root, name)); err != nil {
			return volume.Errorf(volume.Unavailable, "its directory %q cannot be read: somebody has moved or removed it: put it back, or, if all that was in it is gone for good, make an empty one (%w)", name, err)
		}
	}
	if err := identity.MakeDirectory(filepath.Join(p.root, newDir)); err != nil {
		return err
	}
	p.release, err = p.config.Known.Keep(identity.Known{Pool: *found.Identity, Where: p.at().Where})
	return err
}

// makeWhole makes the directories and, when they are on the disk, the identity.
func (p *Pool) makeWhole(how string) error {
	for _, name := range []string{volumesDir, snapshotsDir, groupsDir, newDir} {
		if err := identity.MakeDirectory(filepath.Join(p.root, name)); err != nil {
			return err
		}
	}
	if err := host.SyncFilesystem(p.root); err != nil {
		return err
	}
	text, err := identity.New(p.at(), how).Text()
	if err != nil {
		return err
	}
	return identity.WriteFile(filepath.Join(p.root, identityName), text)
}

// identify remembers what here compares with.
func (p *Pool) identify(found identity.Found) (err error) {
	p.rootFile, _, err = host.Identify(p.root)
	if err != nil || found.Identity == nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(p.root, identityName))
	if err != nil {
		return err
	}
	now, err := identity.Parse(text)
	if err == nil && now.ID != found.Identity.ID {
		err = volume.Errorf(volume.Unavailable, "another pool has just been mounted at %q", p.root)
	}
	p.identity, p.id = string(text), now.ID
	return err
}
