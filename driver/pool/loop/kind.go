package loop

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/volume"
)

// Kind returns the kind of pools of image files in a directory.
func Kind() pool.Kind {
	return pool.Kind{Key: "loop", Parse: parse, InDirectory: inDirectory}
}

func inDirectory(directory string, sizeBytes volume.Size) string {
	if sizeBytes == 0 {
		return fmt.Sprintf("loop: {directory: %s}", directory)
	}
	return fmt.Sprintf("loop: {directory: %q, size: %dMi, create: true}", directory, sizeBytes/volume.MiB)
}

func parse(s *config.Section) pool.Settings {
	s.Only("directory", "size", "allocation", "overprovision", "reserve", "create", "mount")
	c := Config{
		Directory: s.Text("directory"), SizeBytes: s.Size("size"), Space: s.Space(),
		Create: s.Bool("create"), Mount: s.Bool("mount"),
	}
	switch {
	case !s.Has("directory"):
		s.Wrong("directory", "is missing: it says where the pool is")
	case c.Directory == "": // which was said
	case !filepath.IsAbs(c.Directory) || filepath.Clean(c.Directory) == "/":
		s.Wrong("directory", "%q is not an absolute path of a directory for this pool alone", c.Directory)
	}
	c.Directory = filepath.Clean(c.Directory)
	switch allocation := s.Text("allocation"); allocation {
	case "", "preallocated":
	case "sparse":
		c.Sparse = true
	default:
		s.Wrong("allocation", "%q is neither preallocated nor sparse", allocation)
	}
	if s.Err() == nil {
		if err := c.Check(); err != nil {
			s.Errorf("%w", err)
		}
	}
	return c
}

// Where returns the directory.
func (c Config) Where() string { return c.Directory }

// Open keeps the contract of pool.Settings.
func (c Config) Open(ctx context.Context, name string, on pool.Machine) (pool.Pool, error) {
	return Open(ctx, name, on.Node, c.on(on), on.Host)
}

// Inspect keeps the contract of pool.Settings.
func (c Config) Inspect(ctx context.Context, name string, on pool.Machine) (pool.Pool, error) {
	return Inspect(ctx, name, on.Node, c.on(on), on.Host)
}

func (c Config) on(machine pool.Machine) Config {
	c.Known, c.Throwaway = identity.Store{Directory: machine.State}, machine.Throwaway
	return c
}

// Apart refuses two pools of which one is in the directory of the other.
func (c Config) Apart(other pool.Settings, name string) error {
	o, ok := other.(Config)
	if ok && (within(c.Directory, o.Directory) || within(o.Directory, c.Directory)) {
		return volume.Errorf(volume.Invalid, "loop: directory: %q and %q of pool %q are one inside the other: give each pool a directory of its own", c.Directory, o.Directory, name)
	}
	return nil
}

func within(path, parent string) bool {
	relative, err := filepath.Rel(parent, path)
	return err == nil && relative != ".." && !strings.HasPrefix(relative, "../")
}

// Shares returns the device of the file system that Directory is on, where the pool has none of its own.
func (c Config) Shares() (device uint64, promises bool, err error) {
	if c.SizeBytes > 0 {
		return 0, false, nil
	}
	directory, _, err := host.Identify(c.Directory)
	return directory.Device, c.Sparse, err
}
