package loop

import (
	"path/filepath"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/volume"
)

// Config says where a pool is and how it gives out space.
type Config struct {
	Directory string // absolute path

	// Create has a pool made where there is none, and this machine has never opened one of the name. A directory that is
	// not there is made then.
	Create bool

	// Mount requires that Directory is on a mounted file system of its own, and not on that of the machine's root
	// directory or its state.
	Mount bool

	// Known is what the machine remembers of the pools that it has opened; not in the configuration file.
	Known identity.Store

	// Throwaway allows a file system that does not outlive the machine (tmpfs); not in the configuration file.
	Throwaway bool

	// SizeBytes is the size of a file system of the pool's own, an xfs with reflink in one
	// preallocated file in Directory. 0 for none: the pool is in Directory itself.
	SizeBytes volume.Size

	// Sparse makes images that take blocks only when they are written to. They are still promised
	// their whole size, unless Overprovision allows for more.
	Sparse bool

	config.Space // of the file system; only a sparse pool promises more than its size
}

// leastFilesystem is the smallest file system of its own that a pool is given: mkfs.xfs takes 300 MiB,
// of which 64 MiB are its log.
const leastFilesystem = 320 * volume.MiB

// Check says whether a pool can be like that. The kind of its error is Invalid, and its message names
// the key of the configuration file.
func (c Config) Check() error {
	switch {
	case !filepath.IsAbs(c.Directory):
		return volume.Errorf(volume.Invalid, "directory %q is not an absolute path", c.Directory)
	case c.SizeBytes < 0 || (c.SizeBytes > 0 && c.SizeBytes < leastFilesystem):
		return volume.Errorf(volume.Invalid, "size %s is too small for a file system: give at least %s, or leave it out to use the directory as it is", c.SizeBytes, leastFilesystem)
	case c.Overprovision != 0 && !c.Sparse:
		return volume.Errorf(volume.Invalid, "overprovision needs \"allocation: sparse\": a preallocated volume has all its space")
	}
	return c.Space.Check()
}
