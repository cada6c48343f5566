package node_test

import (
	"os"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// reused returns a machine on which two block volumes are published: "a", whose device was then detached by hand,
// and "b", whose device got its number. noted is false for what a release published that did not note for whom.
func reused(t *testing.T, noted bool) *machine {
	m := newMachine(t)
	m.create("a")
	m.create("b", func(s *volume.Spec) { s.Size.RequiredBytes = 3 * size })
	m.ok("stage", m.stage("a", block()))
	m.ok("publish", m.publish("a", "x", block()))
	was := m.get("a").Device
	m.ok("detach by hand", m.fast.Pool.Detach(t.Context(), m.id("a")))
	m.ok("stage", m.stage("b", block()))
	m.ok("Renumber", m.m.Renumber(was, m.get("b").Device))
	m.ok("publish", m.publish("b", "y", block()))
	if !noted {
		for _, target := range []string{m.target("a", "x"), m.target("b", "y")} {
			m.ok("SetOwner", m.m.SetOwner(target, ""))
		}
	}
	return m
}

func TestNothingIsDoneWithADeviceThatIsNoLongerTheVolumes(t *testing.T) {
	m := reused(t, true)
	for _, name := range []string{"a", "b"} {
		_, err := m.stats(name, m.target("a", "x"))
		m.is("stats of "+name+" where a was", err, volume.NotFound, "is not at volume_path")
		m.is("expand "+name+" where a was", m.expand(name, m.target("a", "x")), volume.NotFound, "is not at volume_path")
	}
	before := m.state()
	m.is("publish", m.publish("a", "x", block()), volume.InUse, "is not volume")
	m.is("publish b where a was", func() error {
		req := m.publishRequest("b", "y", block())
		req.TargetPath = m.target("a", "x")
		_, err := m.NodePublishVolume(t.Context(), req)
		return err
	}(), volume.InUse, "is not volume")
	m.is("unpublish b where a was", func() error {
		_, err := m.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: m.id("b").String(), TargetPath: m.target("a", "x")})
		return err
	}(), volume.InUse, "is not volume")
	m.is("unpublish a where b is", func() error {
		_, err := m.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: m.id("a").String(), TargetPath: m.target("b", "y")})
		return err
	}(), volume.InUse, "is not volume")
	m.same("after all that", m.state(), before)

	m.ok("stage again", m.stage("a", block()))
	m.is("publish", m.publish("a", "x", block()), volume.InUse, "is not volume")
	_, err := m.stats("a", m.target("a", "x"))
	m.is("stats", err, volume.NotFound, "is not at volume_path")
	if usage, err := m.stats("b", m.target("b", "y")); err != nil || usage[0].GetTotal() != int64(3*size) {
		t.Errorf("stats of b: %v, %v", usage, err)
	}
}

func TestBothVolumesOfADeviceNumberCanGo(t *testing.T) {
	t.Run("first the one whose device has gone", func(t *testing.T) {
		for _, noted := range []bool{true, false} {
			m := reused(t, noted)
			device := m.get("b").Device
			m.ok("unpublish", m.unpublish("a", "x"))
			m.ok("unstage", m.unstage("a"))
			m.sees("pods/y/b of b devtmpfs read-only=false")
			if m.get("b").Device != device {
				t.Error("the device of the other was touched")
			}
			m.ok("unpublish", m.unpublish("b", "y"))
			m.ok("unstage", m.unstage("b"))
			m.sees()
		}
	})
	t.Run("first the one that has its number", func(t *testing.T) {
		m := reused(t, true)
		m.is("unstage while published", m.unstage("b"), volume.InUse, "pods/y/b")
		m.ok("unpublish", m.unpublish("b", "y"))
		m.ok("unstage", m.unstage("b"))
		if m.get("b").Attached() {
			t.Error("the device is still there")
		}
		m.ok("unpublish", m.unpublish("a", "x"))
		m.ok("unstage", m.unstage("a"))
		m.sees()
	})
	t.Run("one that is attached anew", func(t *testing.T) {
		m := reused(t, true)
		m.ok("stage", m.stage("a", block()))
		m.ok("publish", m.publish("a", "z", block()))
		m.ok("unpublish", m.unpublish("a", "x"))
		m.is("unstage", m.unstage("a"), volume.InUse, "pods/z/a")
		m.ok("unpublish", m.unpublish("a", "z"))
		m.ok("unstage", m.unstage("a"))
	})
	t.Run("one that is deleted", func(t *testing.T) {
		m := reused(t, true)
		m.ok("Delete", m.fast.Delete(t.Context(), m.id("a")))
		m.ok("unpublish", m.unpublish("a", "x"))
		m.ok("unstage", m.unstage("a"))
		m.sees("pods/y/b of b devtmpfs read-only=false")
	})
}

// What is mounted is not taken for a device that has gone.
func TestOnlyADeviceNodeIsTakenAwayForAVolumeThatIsNotThere(t *testing.T) {
	m := newMachine(t)
	for _, name := range []string{"a", "b"} {
		m.create(name)
	}
	m.ok("stage", m.stage("b", mount("")))
	m.ok("publish", m.publish("b", "x", mount("")))
	_, err := m.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: m.id("a").String(), TargetPath: m.target("b", "x")})
	m.is("unpublish", err, volume.InUse, "is not volume")
}

// A second device of a volume's bytes, or a device that was changed, is refused before each use, and pods can go.
func TestAVolumeThatIsNotUsableIsRefusedBeforeEachUse(t *testing.T) {
	for what, seen := range map[string]func(*volume.Volume){
		"/dev/other": func(v *volume.Volume) { v.Others = []string{"/dev/other"} },
		"byte 4096":  func(v *volume.Volume) { v.Fault = "it begins at byte 4096 of the file" },
	} {
		for name, c := range map[string]*csi.VolumeCapability{"device": block(), "fs": mount("ext4")} {
			m := newMachine(t)
			m.create(name)
			m.ok("stage", m.stage(name, c))
			m.ok("publish", m.publish(name, "x", c))
			m.publishRequest(name, "y", c)
			before := m.state()
			m.fast.seen = seen
			m.is("stage", m.stage(name, c), volume.InUse, what)
			m.is("publish", m.publish(name, "x", c), volume.InUse, what)
			m.is("publish to a second pod", m.publish(name, "y", c), volume.InUse, what)
			m.is("expand", m.expand(name, m.target(name, "x")), volume.InUse, what)
			if _, err := m.stats(name, m.target(name, "x")); strings.Contains(what, "byte") {
				m.is("stats", err, volume.NotFound, what)
			} else {
				m.ok("stats", err)
			}
			m.fast.seen = nil
			m.same("after all that", m.state(), before)
			m.fast.seen = seen
			m.ok("unpublish", m.unpublish(name, "x"))
			m.ok("unstage", m.unstage(name))
			m.sees()
		}
	}
}

// A file system that is mounted of another device of the volume's bytes, as with an option "loop" that a release let
// pass, is unmounted with the volume, and until then is not used as it.
func TestAFileSystemMountedOfAnotherDeviceCanGo(t *testing.T) {
	m := newMachine(t)
	m.create("v")
	other := m.path("other")
	m.ok("make a file", os.WriteFile(other, nil, 0o600))
	m.ok("make it large", os.Truncate(other, int64(size)))
	m.ok("mkfs", m.m.Format(t.Context(), other, host.Format{Type: volume.Ext4}))
	m.stageRequest("v", nil)
	if _, err := m.fast.Pool.Attach(t.Context(), m.id("v"), false); err != nil {
		t.Fatal(err)
	}
	m.ok("Mount", m.m.Mount(t.Context(), other, m.path("staging", "v"), volume.Ext4, nil))
	m.publishRequest("v", "x", nil)
	m.ok("make a directory", os.Mkdir(m.target("v", "x"), 0o750))
	m.ok("Bind", m.m.Bind(t.Context(), m.path("staging", "v"), m.target("v", "x"), false))
	m.fast.seen = func(v *volume.Volume) { v.Others = []string{other} }

	m.is("stage", m.stage("v", mount("")), volume.InUse, other)
	m.is("publish", m.publish("v", "x", mount("")), volume.InUse, other)
	_, err := m.stats("v", m.target("v", "x"))
	m.is("stats", err, volume.NotFound, other)
	m.ok("unpublish", m.unpublish("v", "x"))
	m.ok("unstage", m.unstage("v"))
	m.sees()
}

// Between the look at a device and its use somebody may take it away.
func TestADeviceThatIsExchangedWhileItIsUsedIsNotHandedOut(t *testing.T) {
	for _, c := range []struct {
		name   string
		access *csi.VolumeCapability
		after  string // the last step before the exchange
	}{{"device", block(), "Bind"}, {"fs", mount(""), "Mount"}} {
		m := newMachine(t)
		m.create(c.name)
		if c.name == "device" {
			m.ok("stage", m.stage(c.name, c.access))
		}
		m.stageRequest(c.name, nil)
		m.watch = func(s step) error {
			if s.Method == c.after && s.After {
				m.fast.seen = func(v *volume.Volume) { v.Device, v.ReadOnly = "", false }
			}
			return nil
		}
		var err error
		if c.name == "device" {
			err = m.publish(c.name, "x", c.access)
		} else {
			err = m.stage(c.name, c.access)
		}
		m.is(c.name, err, volume.InUse, "volume")
		m.watch = func(step) error { return nil }
		m.fast.seen = nil
		m.sees()
	}
}
