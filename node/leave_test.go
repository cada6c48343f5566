package node_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/node"
)

// losses are what may become of a pool while a volume of it is in use.
func losses() map[string]func(m *real) {
	return map[string]func(m *real){
		"nothing":                    func(*real) {},
		"the file system shuts down": func(m *real) { m.run("xfs_io", "-x", "-c", "shutdown", m.root()) },
		"the image is removed":       func(m *real) { m.ok("remove", os.Remove(m.inVolume("image"))) },
		"the record is removed":      func(m *real) { m.ok("remove", os.Remove(m.inVolume("volume.json"))) },
		"the record is damaged":      func(m *real) { m.ok("write", os.WriteFile(m.inVolume("volume.json"), []byte("{"), 0o600)) },
		"the directory is removed":   func(m *real) { m.ok("remove", os.RemoveAll(m.inVolume(""))) },
		"the pool is not configured": func(m *real) { m.serve(m.other()) },
		"the pool is unavailable":    func(m *real) { m.serve(dead{name: "fast"}, m.other()) },
		"the pool hangs":             func(m *real) { m.serve(hanging(m), m.other()) },
	}
}

func (m *real) root() string { return m.path("pool", "mounted") }

func (m *real) inVolume(name string) string { return filepath.Join(m.root(), "volumes", "v", name) }

// serve has the service serve those pools.
func (m *real) serve(pools ...pool.Pool) {
	m.Helper()
	set, err := pool.NewSet(nodeName, pools...)
	m.ok("NewSet", err)
	m.Server = node.New(node.Config{Pools: set, Machine: m.machine, Patience: time.Second})
}

// other opens another pool, which has a volume of the same name that is attached.
func (m *real) other() pool.Pool {
	m.Helper()
	p, err := loop.Open(m.Context(), "other", nodeName, loop.Config{Directory: m.path("other"), Create: true}, m.machine)
	m.ok("Open", err)
	id := volume.ID{Node: nodeName, Pool: "other", Name: "v"}
	_, err = p.Create(m.Context(), volume.Spec{ID: id, Size: volume.Range{RequiredBytes: size}})
	m.ok("Create", err)
	device, err := p.Attach(m.Context(), id, false)
	m.ok("Attach", err)
	m.Cleanup(func() {
		v, err := p.Get(context.Background(), id)
		m.ok("Get", err)
		if v.Device != device {
			m.Errorf("the volume of another pool had %s and has %q", device, v.Device)
		}
		m.ok("clean up", errors.Join(p.Detach(context.Background(), id), p.Close()))
	})
	return p
}

// dead is a pool that could not be opened.
type dead struct {
	pool.Pool
	name string
}

func (d dead) Name() string { return d.name }

func (d dead) err() error {
	return volume.Errorf(volume.Unavailable, "pool %q cannot be opened", d.name)
}

func (d dead) Get(context.Context, volume.ID) (volume.Volume, error) {
	return volume.Volume{}, d.err()
}

func (d dead) List(context.Context, string, int) ([]volume.Volume, error) { return nil, d.err() }

func (d dead) Detach(context.Context, volume.ID) error { return d.err() }

// hangs is a pool whose disk does not answer, until the test ends.
type hangs struct {
	pool.Pool
	until chan struct{}
	end   func() // lets it answer
	asked *atomic.Int32
}

func hanging(m *real) hangs {
	h := hangs{Pool: m.pool, until: make(chan struct{}), asked: new(atomic.Int32)}
	h.end = sync.OnceFunc(func() { close(h.until) })
	m.Cleanup(h.end)
	return h
}

func (h hangs) Get(context.Context, volume.ID) (volume.Volume, error) {
	h.asked.Add(1)
	<-h.until
	return volume.Volume{}, errors.New("it hung")
}

func (h hangs) Detach(context.Context, volume.ID) error { <-h.until; return nil }

// devicesOf returns the loop devices of the pool's image of "v".
func (m *real) devicesOf() (devices []string) {
	m.Helper()
	all, err := m.machine.DevicesByName()
	m.ok("DevicesByName", err)
	for _, d := range all {
		if d.File != nil && strings.HasPrefix(d.File.Path, m.root()+"/") {
			devices = append(devices, d.Path)
		}
	}
	return devices
}

// gone fails the test where something of the pool is still mounted or attached.
func (m *real) gone() {
	m.Helper()
	table, err := m.machine.Mounts()
	m.ok("Mounts", err)
	for _, at := range table {
		if strings.HasPrefix(at.Target, m.dir+"/") && at.Target != m.root() {
			m.Errorf("%s is still mounted at %s", at.Source, at.Target)
		}
	}
	if left := m.devicesOf(); len(left) > 0 {
		m.Errorf("still there: %v", left)
	}
}

func TestAPodGoesWhateverBecomesOfItsPool(t *testing.T) {
	for access, c := range map[string]*csi.VolumeCapability{"file system": mount("ext4"), "block": block()} {
		for what, lose := range losses() {
			for _, byHand := range []bool{false, true} {
				name := access + ", " + what
				if byHand {
					name += ", the mounts taken away by hand"
				}
				t.Run(name, func(t *testing.T) {
					m := newRealWith(t, loop.Config{SizeBytes: 512 * volume.MiB})
					m.createIn("v", 4*size)
					m.ok("stage", m.stage("v", c))
					m.ok("publish", m.publish("v", m.target("v"), c))
					lose(m)
					if byHand {
						m.run("umount", m.target("v"))
						if access != "block" {
							m.run("umount", m.path("staging-v"))
						}
					}
					for range 2 {
						m.ok("unpublish", m.unpublish("v", m.target("v")))
					}
					if _, err := os.Lstat(m.target("v")); !errors.Is(err, os.ErrNotExist) {
						t.Errorf("the target is still there: %v", err)
					}
					for range 2 {
						m.ok("unstage", m.unstage("v"))
					}
					m.gone()
				})
			}
		}
	}
}

// Each call to a pool that hangs costs a thread for good. So it is asked of a volume once, however often the orchestrator calls.
func TestAPoolThatHangsIsAskedOnce(t *testing.T) {
	m := newReal(t)
	m.use("v", volume.Ext4)
	h := hanging(m)
	m.serve(h)
	open, err := os.Open(m.target("v"))
	m.ok("open", err)
	for range 3 {
		m.is("unpublish what is open", m.unpublish("v", m.target("v")), volume.InUse, "busy")
	}
	m.ok("close", open.Close())
	m.ok("unpublish", m.unpublish("v", m.target("v")))
	m.ok("unstage", m.unstage("v"))
	if asked, device := h.asked.Load(), m.device("v"); asked != 1 || device != "" {
		t.Errorf("the pool was asked %d times, and %q is still there", asked, device)
	}
	h.end()
	for until := time.Now().Add(time.Minute); h.asked.Load() == 1; time.Sleep(time.Millisecond) {
		m.ok("unstage", m.unstage("v"))
		if time.Now().After(until) {
			t.Fatal("the pool has answered, and is not asked again")
		}
	}
}

// createIn makes a volume in the pool with a file system of its own.
func (m *real) createIn(name string, bytes volume.Size) {
	m.Helper()
	_, err := m.pool.Create(m.Context(), volume.Spec{ID: m.id(name), Size: volume.Range{RequiredBytes: bytes}})
	m.ok("Create", err)
	m.ok("make a directory", os.Mkdir(m.path("staging-"+name), 0o750))
}

// Without its pool a volume is known by what the kernel says. What that says to be another's is left alone.
func TestWithoutAPoolNothingOfOthersIsTakenAway(t *testing.T) {
	m := newRealWith(t, loop.Config{SizeBytes: 512 * volume.MiB})
	for _, name := range []string{"v", "w"} {
		m.createIn(name, 4*size)
		m.ok("stage", m.stage(name, mount("ext4")))
	}
	device := m.device("v")
	m.serve(m.other())
	theirs := m.path("theirs")
	m.ok("make a directory", os.Mkdir(theirs, 0o750))
	m.run("mount", "-t", "tmpfs", "theirs", theirs)
	for what, path := range map[string]string{"another's volume": m.path("staging-w"), "something of somebody's": theirs} {
		m.is("unpublish "+what, m.unpublish("v", path), volume.NotFound, "is left there")
		_, err := m.NodeUnstageVolume(t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: m.id("v").String(), StagingTargetPath: path})
		m.is("unstage "+what, err, volume.NotFound, "is left there")
	}
	m.ok("publish by hand", os.Mkdir(m.target("v"), 0o750))
	m.run("mount", "--bind", m.path("staging-v"), m.target("v"))
	m.is("unstage what is published", m.unstage("v"), volume.InUse, m.target("v"))
	open, err := os.Open(m.target("v"))
	m.ok("open", err)
	m.is("unpublish what is open", m.unpublish("v", m.target("v")), volume.InUse, "busy")
	m.ok("close", open.Close())
	m.ok("unpublish", m.unpublish("v", m.target("v")))
	m.ok("unstage", m.unstage("v"))
	if left := m.devicesOf(); len(left) != 1 || left[0] == device {
		t.Errorf("had %s, still there: %v", device, left)
	}
	m.ok("unstage", m.unstage("w"))
	m.run("umount", theirs)
	m.gone()
}

// An inline volume of a dead pool is tried to be deleted for a while. Then the pod goes.
func TestAPodOfAnInlineVolumeGoesWithoutItsPool(t *testing.T) {
	handle := "csi-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for what, dies := range map[string]func(m *real){
		"unavailable": func(m *real) { m.serve(dead{name: "fast"}, m.other()) },
		"shut down": func(m *real) {
			m.run("xfs_io", "-x", "-c", "shutdown", m.root())
			m.serve(m.pool)
		},
	} {
		t.Run(what, func(t *testing.T) {
			m := newRealWith(t, loop.Config{SizeBytes: 512 * volume.MiB})
			_, err := m.NodePublishVolume(t.Context(), &csi.NodePublishVolumeRequest{
				VolumeId: handle, TargetPath: m.target("v"), VolumeCapability: mount("ext4"),
				VolumeContext: map[string]string{"csi.storage.k8s.io/ephemeral": "true", "size": "32Mi"},
			})
			m.ok("publish", err)
			dies(m)
			unpublish := func() error {
				_, err := m.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: handle, TargetPath: m.target("v")})
				return err
			}
			m.is("unpublish", unpublish(), volume.Unavailable, "fast")
			m.gone() // at once, the volume with its pool excepted
			for until := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
				err := unpublish()
				if err == nil {
					break
				}
				if time.Now().After(until) {
					t.Fatalf("unpublish: %v", err)
				}
			}
			m.serve(m.pool)
		})
	}
}
