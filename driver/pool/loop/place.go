package loop

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/volume"
)

// identityName is the file with the pool's identity, beside volumes/.
const identityName = "pool.json"

// at is where the pool is to be.
func (p *Pool) at() identity.Place {
	at := identity.Place{Pool: p.name, Node: p.node, Kind: identity.LoopDirectory, Where: "directory \"" + p.config.Directory + "\"", Create: p.config.Create}
	if p.config.SizeBytes > 0 {
		at.Kind = identity.LoopFilesystem
	}
	return at
}

// decide says what is to be done with what is at the pool's place, and changes nothing. A file system of the pool's
// own that is not mounted is opened: what is in it is to be seen then, and decided upon once more.
func (p *Pool) decide() (identity.Decision, error) {
	if err := p.checkPlace(); err != nil {
		return "", err
	}
	found, seen, err := p.find()
	if err != nil {
		return "", err
	}
	if !seen {
		return identity.Open, nil
	}
	return p.config.Known.Decide(p.at(), found)
}

// checkPlace says whether the directory is on a file system that a pool can be on.
func (p *Pool) checkPlace() error {
	c := p.config
	if !c.Throwaway {
		fsType, err := host.Volatile(c.Directory)
		if err != nil {
			return err
		}
		if fsType != "" {
			return volume.Errorf(volume.Invalid, "directory %q is on %s, which does not outlive the machine or container: give it a directory on a disk", c.Directory, fsType)
		}
	}
	return p.checkMount()
}

// checkMount says whether the directory is on a mounted file system of its own, where it has to be.
func (p *Pool) checkMount() error {
	if !p.config.Mount {
		return nil
	}
	if _, _, err := host.Identify(p.config.Directory); err != nil {
		return volume.Errorf(volume.Unavailable, "mount: directory %q is not there: mount the disk that it is on (%w)", p.config.Directory, err)
	}
	mount, err := p.machine.MountOf(p.config.Directory)
	if err != nil {
		return err
	}
	state := p.config.Known.Directory
	if state == "" {
		state = identity.DefaultState
	}
	shared := false
	for _, other := range []string{"/", state} {
		m, err := p.machine.MountOf(other)
		if err != nil {
			return err
		}
		shared = shared || m.Device == mount.Device || (other == "/" && m.FSType == "overlay" && mount.OfHostRoot())
	}
	if shared {
		return volume.Errorf(volume.Unavailable, "mount: directory %q is on the file system of the system's disk (%s, mounted at %q), and the configuration says that it has one of its own: mount its disk", p.config.Directory, mount.Source, mount.Target)
	}
	return nil
}

// find looks at what is at the pool's place. It reports false for a file system of the pool's own that is not mounted, or has
// failed.
func (p *Pool) find() (found identity.Found, seen bool, err error) {
	directory, err := filepath.EvalSymlinks(p.config.Directory)
	if errors.Is(err, fs.ErrNotExist) {
		return identity.Found{}, true, nil
	}
	if err != nil {
		return identity.Found{}, false, err
	}
	file := filepath.Join(directory, filesystemName)
	hasFile, err := exists(file)
	if err != nil {
		return identity.Found{}, false, err
	}
	if p.config.SizeBytes == 0 {
		found, err := findIn(directory, volumesDir, snapshotsDir, newDir)
		if err == nil && found.Identity == nil && hasFile {
			err = volume.Errorf(volume.Invalid, "directory %q holds a pool with a file system of its own (%q), and the configuration has no size: put it back, or take another directory", p.config.Directory, file)
		}
		return found, true, err
	}
	plain, err := findIn(directory, volumesDir, snapshotsDir, newDir)
	if err != nil {
		return identity.Found{}, false, err
	}
	if err := p.notPlain(directory, hasFile, plain); err != nil {
		return identity.Found{}, false, err
	}
	mounted, err := isMounted(p.machine, directory)
	switch {
	case err != nil:
		return identity.Found{}, false, err
	case !hasFile:
		return identity.Found{}, true, nil
	case !mounted:
		return identity.Found{}, false, nil
	}
	if failed(filepath.Join(directory, mountedName)) != nil { // it is mounted anew, where that can be
		return identity.Found{}, false, nil
	}
	found, err = findIn(filepath.Join(directory, mountedName), volumesDir)
	if err == nil && found.Identity == nil && !found.Earlier {
		err = onlyOurs(filepath.Join(directory, mountedName))
	}
	return found, true, err
}

// notPlain refuses a directory that holds a pool without a file system of its own. An earlier release made an empty one
// beside the file, where size was once taken out of the configuration; that one is passed over.
func (p *Pool) notPlain(directory string, hasFile bool, plain identity.Found) error {
	if plain.Identity == nil && !plain.Earlier {
		return nil
	}
	if hasFile && plain.Identity == nil {
		for _, name := range []string{volumesDir, snapshotsDir, groupsDir} {
			entries, err := os.ReadDir(filepath.Join(directory, name))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if len(entries) > 0 {
				return volume.Errorf(volume.Invalid, "directory %q holds two pools, one in %q and one in %q: move one of them into a directory of its own, with %s, %s, %s and %s",
					p.config.Directory, filesystemName, name, volumesDir, snapshotsDir, groupsDir, newDir)
			}
		}
		return nil
	}
	return volume.Errorf(volume.Invalid, "directory %q holds a pool without a file system of its own, and the configuration has size: take it out, or take another directory", p.config.Directory)
}

// findIn looks at the directory that would have a pool's volumes. One without an identity is of an earlier release if it
// has all of those directories.
func findIn(root string, certain ...string) (identity.Found, error) {
	i, err := identity.ReadFile(filepath.Join(root, identityName))
	if err == nil {
		return identity.Found{Identity: i}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return identity.Found{}, volume.Errorf(volume.Unavailable, "read which pool is in %q: %w", root, err)
	}
	for _, name := range certain {
		info, err := os.Lstat(filepath.Join(root, name))
		if errors.Is(err, fs.ErrNotExist) {
			return identity.Found{}, nil
		}
		if err != nil {
			return identity.Found{}, err
		}
		if !info.IsDir() {
			return identity.Found{}, nil
		}
	}
	return identity.Found{Earlier: true}, nil
}

// onlyOurs refuses a file system in which there is something else than what a crash leaves of a pool that was being made.
func onlyOurs(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case volumesDir, snapshotsDir, groupsDir, newDir, identityName + ".new":
		default:
			return volume.Errorf(volume.Unavailable, "the file system at %q holds %q, and no pool: another file has the name %q now", root, e.Name(), filesystemName)
		}
	}
	return nil
}

// here says whether the pool is still at its place, and can be read. What is on a file system that was unmounted, or has
// failed, cannot be seen, but exists. The kind of its error is Unavailable.
func (p *Pool) here() error {
	text, err := os.ReadFile(filepath.Join(p.root, identityName))
	switch {
	case err == nil && string(text) == p.identity:
		return nil
	case err == nil && p.identity != "":
		if now, err := identity.Parse(text); err == nil && now.ID == p.id {
			return nil // somebody has written it anew
		}
		return volume.Errorf(volume.Unavailable, "pool %q is no longer at %q, another one is (%s): mount its own file system again", p.name, p.root, text)
	case p.identity == "": // only inspected, of an earlier release
		if now, _, idErr := host.Identify(p.root); idErr == nil && now == p.rootFile && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	case !errors.Is(err, fs.ErrNotExist):
		return volume.Errorf(volume.Unavailable, "pool %q at %q cannot be read: its disk or file system has failed (%w)", p.name, p.root, err)
	}
	return volume.Errorf(volume.Unavailable, "pool %q is no longer at %q: mount its file system again", p.name, p.root)
}

// Lost returns why the pool has to be opened again: its file system is another one, was unmounted or has failed. What is
// open on a file system keeps it from being unmounted and checked.
func (p *Pool) Lost() error { return p.here() }

// cause says why something of the pool could not be read: that the pool is not here, or err.
func (p *Pool) cause(err error) error {
	if err := p.here(); err != nil {
		return err
	}
	return wrap(p.name, err)
}

// ailing says what is wrong with the file system that the pool is on, which can still be read. Empty for nothing.
func (p *Pool) ailing() (string, error) {
	stopped, err := p.machine.StoppedAt(p.root)
	if err != nil {
		return "", err
	}
	if stopped != "" {
		return fmt.Sprintf("the file system at %q is %s: look into the kernel's log (dmesg), and check and mount it again", p.root, stopped), nil
	}
	if p.own != nil {
		if err := p.own.check(); err != nil {
			return err.Error(), nil
		}
	}
	return "", nil
}
