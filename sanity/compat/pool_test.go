package compat_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/sanity/compat"
	"github.com/loam-storage/loam/sanity/scratch"
)

// TestLoopPools opens the loop pools of earlier releases, with nothing attached and with some volumes in use.
func TestLoopPools(t *testing.T) {
	hosttest.NeedsRoot(t)
	each(t, func(m compat.Manifest) bool { return m.Group == "" })
}

// TestLVMPools does the same with those in volume groups, on a disk.
func TestLVMPools(t *testing.T) {
	scratch.Disks(t, 1)
	each(t, func(m compat.Manifest) bool { return m.Group != "" })
}

func each(t *testing.T, wanted func(compat.Manifest) bool) {
	manifests, err := filepath.Glob("testdata/*.json")
	if err != nil || len(manifests) == 0 {
		t.Fatalf("there are no manifests: %v", err)
	}
	for _, path := range manifests {
		m, err := compat.ReadManifest(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if !wanted(m) {
			continue
		}
		name := strings.TrimSuffix(path, ".json")
		t.Run(filepath.Base(name)+"/detached", func(t *testing.T) { unpack(t, m, name+".tar.gz").detached() })
		t.Run(filepath.Base(name)+"/attached", func(t *testing.T) { unpack(t, m, name+".tar.gz").attached() })
	}
}

// opened is a pool of an earlier release that this one has opened.
type opened struct {
	*testing.T
	compat.Manifest
	driver compat.Driver
	dir    string
	disk   string            // that the volume group is on
	used   map[string]string // where what is published is, by its handle
	device map[string]uint64 // the number of the device that it has there
}

// unpack makes a pool what it was, until the test ends.
func unpack(t *testing.T, m compat.Manifest, archive string) *opened {
	t.Helper()
	dir, err := os.MkdirTemp("", "c") // short, for the path of the socket
	o := &opened{T: t, Manifest: m, dir: dir, used: map[string]string{}, device: map[string]uint64{}}
	o.ok("make a directory", err)
	t.Cleanup(o.clean)
	o.driver.Dir, o.driver.State = filepath.Join(dir, "driver"), filepath.Join(dir, "state")
	o.ok("make a directory", os.Mkdir(o.driver.Dir, 0o700))
	o.driver.Binary, err = loam()
	o.ok("find loam", err)
	into := map[string]string{}
	if m.Disk != "" {
		o.disk = scratch.Disks(t, 1)[0]
		into[m.Disk] = o.disk
	}
	o.ok("unpack", compat.Unpack(archive, filepath.Join(dir, "pool"), into))
	if m.Mount != "" {
		o.ok("mount", scratch.Run("mount", "-o", "loop", filepath.Join(dir, "pool", m.Mount), filepath.Join(dir, "pool", "mnt")))
	}
	return o
}

// clean takes everything away. What a test that passed leaves published is an error.
func (o *opened) clean() {
	if o.driver.Running() {
		if err := o.driver.Stop(); err != nil {
			o.Errorf("stop loam: %v", err)
		}
	}
	if o.Failed() {
		said, _ := os.ReadFile(o.driver.LogFile())
		o.Logf("loam said:\n%s", said)
	}
	if o.Mount != "" {
		_ = scratch.Run("umount", filepath.Join(o.dir, "pool", "mnt")) // busy only if the test failed
	}
	if o.Failed() {
		if err := scratch.Sweep(o.dir); err != nil {
			o.Error(err)
		}
	}
	if o.disk != "" {
		if err := scratch.RemoveVolumeGroup(o.Group, o.disk); err != nil {
			o.Error(err)
		}
	}
	if err := os.RemoveAll(o.dir); err != nil {
		o.Error(err)
	}
}

func (o *opened) ok(what string, err error) {
	o.Helper()
	if err != nil {
		o.Fatalf("%s: %v", what, err)
	}
}

// open opens the pool with this release.
func (o *opened) open() {
	o.Helper()
	o.ok("open the pool", o.driver.Start(o.Context(), o.ConfigIn(filepath.Join(o.dir, "pool"), o.disk)))
}

// empty fails the test if anything is left.
func (o *opened) empty() {
	o.Helper()
	for _, verb := range []string{"volumes", "snapshots"} {
		rows, err := o.driver.Rows(verb)
		if err != nil || len(rows) > 0 {
			o.Errorf("left are %s %v, %v", verb, rows, err)
		}
	}
}

// publish publishes a volume at a path of its own.
func (o *opened) publish(id string, c *csi.VolumeCapability) string {
	o.Helper()
	at, ok := o.used[id]
	if !ok {
		at = o.path(id)
		o.used[id] = at
	}
	o.ok("publish "+id, o.driver.Publish(o.Context(), id, c, at))
	return at
}

func (o *opened) path(id string) string {
	return filepath.Join(o.dir, "at-"+strings.ReplaceAll(id[strings.LastIndex(id, "/")+1:], " ", "-"))
}

func (o *opened) unpublish(id string) {
	o.Helper()
	o.ok("unpublish "+id, o.driver.Unpublish(o.Context(), id, o.used[id]))
	delete(o.used, id)
}

// holds compares what is at a path with what was in the volume.
func (o *opened) holds(what, at string, content compat.Content) {
	o.Helper()
	if content.Device != "" {
		if sum, err := compat.Sum(at); err != nil || sum != content.Device {
			o.Errorf("%s: the device has the checksum %s, %v; want %s", what, sum, err, content.Device)
		}
		return
	}
	files, err := compat.ReadFiles(at)
	o.ok(what+": read", err)
	for name, sum := range content.Files {
		if files[name] != sum {
			o.Errorf("%s: file %q has the checksum %q; want %s", what, name, files[name], sum)
		}
	}
	if len(files) != len(content.Files) {
		o.Errorf("%s: there are files %v; want %v", what, files, content.Files)
	}
}

// number returns the number of the device of what is at a path, a mount or a device.
func (o *opened) number(at string) uint64 {
	o.Helper()
	var s unix.Stat_t
	o.ok("look at "+at, unix.Stat(at, &s))
	if s.Mode&unix.S_IFMT == unix.S_IFBLK {
		return s.Rdev
	}
	return s.Dev
}
