package host_test

import (
	"path/filepath"
	"testing"

	"github.com/loam-storage/loam/driver/host"
)

// The mounts are lines of the table of a pod, whose directories of the host are mounted where they are there.
func TestWhatAContainerSeesOfTheHostsRoot(t *testing.T) {
	for what, c := range map[string]struct {
		mount host.Mount
		want  bool
	}{
		"a directory of the root":               {host.Mount{Root: "/mnt/disks", Target: "/mnt/disks"}, true},
		"one of a root that is a subvolume":     {host.Mount{Root: "/@/mnt/disks", Target: "/mnt/disks"}, true},
		"a disk":                                {host.Mount{Root: "/", Target: "/mnt/disks"}, false},
		"a directory of a disk":                 {host.Mount{Root: "/pools", Target: "/mnt/disks/pools"}, false},
		"a directory of /var, which is a mount": {host.Mount{Root: "/lib/pools", Target: "/var/lib/pools"}, false},
	} {
		if got := c.mount.OfHostRoot(); got != c.want {
			t.Errorf("%s: %t", what, got)
		}
	}
}

func TestMountOfWhatIsNotThereYet(t *testing.T) {
	m := host.New(host.NewRunner())
	dir := t.TempDir()
	there, err := m.MountOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	later, err := m.MountOf(filepath.Join(dir, "not", "there"))
	if err != nil || later != there {
		t.Errorf("%+v, %v; want %+v", later, err, there)
	}
	if proc, err := m.MountOf("/proc/self/mounts"); err != nil || proc.Target != "/proc" || proc.FSType != "proc" {
		t.Errorf("of /proc: %+v, %v", proc, err)
	}
	if _, err := host.Volatile("/dev/shm/not/there"); err != nil {
		t.Error(err)
	}
}
