package crash_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
)

// place is the pools that the driver is over in a run, and how the test sees what they have without asking
// the driver.
type place interface {
	pools() []string
	open(ctx context.Context, dir, pool string, machine *host.Host) (pool.Pool, error)

	// snapshotsStay reports whether a volume with snapshots can be deleted or expanded.
	snapshotsStay(pool string) bool
	// slow reports whether a pool copies all bytes, so that it is better not to give it large volumes.
	slow(pool string) bool
	// most returns how many volumes and snapshots there may be at once, so that no pool is ever full.
	most() (volumes, snapshots int)

	// device returns what the device of a volume is of, and onDisk what there is of a volume or
	// snapshot beside it: each as in the state that observe makes.
	device(dir string, v vol) string
	volumeOnDisk(dir string, v vol) string
	snapshotOnDisk(dir string, s snap) string
	// observe adds the devices that there are and what is on the disk.
	observe(dir string, s state) error
	// base is what is there beside the volumes while the driver runs, and idle while it does not.
	base(dir string, disk bool) state
	idle(dir string, disk bool) state
	// path returns the path in /dev of the device of a volume.
	path(dir string, v vol) (string, error)
}

// placeVariable names, in the environment of the driver's process, its place.
const placeVariable = "LOAM_CRASH_PLACE"

var places = map[string]place{"loop": onLoop{}, "lvm": onLVM{}}

func placeName(p place) string {
	for name, one := range places {
		if one == p {
			return name
		}
	}
	return ""
}

// placeOfDriver is what the driver's process finds out about itself.
func placeOfDriver() place { return places[os.Getenv(placeVariable)] }

// blockDevices returns what the files of a pattern in /sys/block say, by the names of their devices as in /dev.
func blockDevices(pattern string) (map[string]string, error) {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	devices := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			continue // it went away meanwhile, before it was opened or after: other tests have devices, too
		}
		if err != nil {
			return nil, err
		}
		devices[strings.Split(path, "/")[3]] = strings.TrimSpace(string(text))
	}
	return devices, nil
}
