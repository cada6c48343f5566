package crash_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/scratch"
)

// onLoop has a pool with a file system of its own, which shares blocks, and one in a directory, for
// TestCrash on an ext4, which copies.
type onLoop struct{}

const (
	ownPool   = "own"
	plainPool = "plain"
	ownBytes  = 4 * volume.GiB
	diskBytes = 4 * volume.GiB
)

func (onLoop) pools() []string           { return []string{ownPool, plainPool} }
func (onLoop) snapshotsStay(string) bool { return true }
func (onLoop) slow(pool string) bool     { return pool == plainPool }
func (onLoop) most() (int, int)          { return 12, 10 }

func (onLoop) open(ctx context.Context, dir, name string, machine *host.Host) (pool.Pool, error) {
	config := loop.Config{Directory: filepath.Join(diskMount(dir), plainPool), Create: true}
	if name == ownPool {
		config = loop.Config{Directory: filepath.Join(dir, ownPool), SizeBytes: ownBytes, Create: true}
	}
	config.Known = identity.Store{Directory: filepath.Join(dir, "state")}
	return loop.Open(ctx, name, nodeName, config, machine)
}

// poolRoot is the directory that a pool has its images in.
func poolRoot(dir, name string) string {
	if name == ownPool {
		return filepath.Join(dir, ownPool, "mounted")
	}
	return filepath.Join(diskMount(dir), plainPool)
}

// What scratch.FileSystem makes: an ext4, which cannot share blocks, for the plain pool.
func diskPath(dir string) string  { return filepath.Join(dir, "ext4.image") }
func diskMount(dir string) string { return filepath.Join(dir, "ext4") }

// makeDisk mounts the disk that the plain pool will be on until the test ends.
func (r *run) makeDisk(t *testing.T) {
	t.Helper()
	_, remove, err := scratch.FileSystem(r.dir, "ext4", diskBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remove(); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	r.model.disk = true
}

func (onLoop) volumeOnDisk(dir string, v vol) string {
	return filepath.Join(poolRoot(dir, v.pool), "volumes", nameOf(v.handle))
}

func (o onLoop) device(dir string, v vol) string {
	return filepath.Join(o.volumeOnDisk(dir, v), "image")
}

func (onLoop) snapshotOnDisk(dir string, s snap) string {
	if s.group == "" {
		return filepath.Join(poolRoot(dir, s.pool), "snapshots", nameOf(s.handle))
	}
	return filepath.Join(poolRoot(dir, s.pool), "groups", nameOf(s.group))
}

func (onLoop) idle(dir string, disk bool) state {
	if !disk {
		return state{}
	}
	return state{"device " + diskPath(dir): describeDevice(diskBytes, false), "mount " + diskMount(dir): mode(false)}
}

func (o onLoop) base(dir string, disk bool) state {
	s := o.idle(dir, disk)
	s["device "+filepath.Join(dir, ownPool, "filesystem")] = describeDevice(ownBytes, false)
	s["mount "+poolRoot(dir, ownPool)] = mode(false)
	return s
}

func (o onLoop) path(dir string, v vol) (string, error) {
	devices, err := loops(dir)
	if err != nil {
		return "", err
	}
	for device, file := range devices {
		if file == o.device(dir, v) {
			return filepath.Join("/dev", device), nil
		}
	}
	return "", fmt.Errorf("volume %s has no device", v.handle)
}

func (o onLoop) observe(dir string, s state) error {
	devices, err := loops(dir)
	if err != nil {
		return err
	}
	for device, file := range devices {
		one, err := describeBlock(device)
		if err != nil {
			return err
		}
		s.add("device "+file, one)
	}
	for _, name := range o.pools() {
		for _, kind := range []string{"volumes", "snapshots", "groups", "new"} {
			if err := s.addEntries("on disk ", filepath.Join(poolRoot(dir, name), kind)); err != nil {
				return err
			}
		}
		marks, err := filepath.Glob(filepath.Join(poolRoot(dir, name), "volumes", "*", "block"))
		if err != nil {
			return err
		}
		for _, mark := range marks {
			s["mark "+handleOf(name, filepath.Base(filepath.Dir(mark)))] = block
		}
	}
	return nil
}

// loops returns the loop devices of files below dir, by their names as in /dev.
func loops(dir string) (map[string]string, error) {
	devices, err := blockDevices("/sys/block/loop*/loop/backing_file")
	maps.DeleteFunc(devices, func(_, file string) bool { return !strings.HasPrefix(file, dir+"/") })
	return devices, err
}

// describeBlock describes a block device by its name in /sys/block.
func describeBlock(device string) (string, error) {
	size, err := os.ReadFile("/sys/block/" + device + "/size")
	if err != nil {
		return "", err
	}
	sectors, err := strconv.ParseInt(strings.TrimSpace(string(size)), 10, 64)
	if err != nil {
		return "", err
	}
	readOnly, err := os.ReadFile("/sys/block/" + device + "/ro")
	return describeDevice(volume.Size(sectors*512), strings.TrimSpace(string(readOnly)) == "1"), err
}
