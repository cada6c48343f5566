package node_test

import (
	"os"
	"slices"
	"testing"

	"github.com/loam-storage/loam/driver/volume"
)

// allowed lets a volume be mounted that was used as a block device.
func allowed(s *volume.Spec) { s.Parameters.AllowBlockAsFilesystem = true }

func TestWhatWasABlockDeviceIsNotEvenLookedAt(t *testing.T) {
	m := newMachine(t)
	m.create("v", func(s *volume.Spec) { s.FSType = volume.Ext4 })
	m.format("v", volume.Ext4)
	m.mark("v", volume.Block)
	request := m.stageRequest("v", mount("ext4"))
	before := m.state()
	var methods []string
	m.watch = func(s step) error {
		methods = append(methods, s.Method)
		return nil
	}
	for _, c := range []string{"ext4", "xfs", ""} {
		request.VolumeCapability = mount(c)
		_, err := m.NodeStageVolume(m.Context(), request)
		if c != "xfs" {
			m.is("stage", err, volume.InUse, volume.KeyAllowBlock)
		} else if err == nil {
			t.Error("staged as xfs")
		}
	}
	for _, method := range []string{"Probe", "Check", "Format", "Mount", "Zero", "pool.Attach"} {
		if slices.Contains(methods, method) {
			t.Errorf("%s was called: %v", method, methods)
		}
	}
	m.watch = func(step) error { return nil }
	m.same("after the refusals", m.state(), before)
	m.ok("stage as a block device", m.stage("v", block()))
}

func TestWhatWasABlockDeviceIsMountedWhereThatIsAllowed(t *testing.T) {
	m := newMachine(t)
	m.create("v", allowed)
	uuid := m.format("v", volume.Ext4)
	m.mark("v", volume.Block)
	m.ok("stage", m.stage("v", mount("ext4")))
	m.ok("publish", m.publish("v", "a", mount("ext4")))
	m.sees("pods/a/v of v ext4 read-only=false", "staging/v of v ext4 read-only=false")
	if v := m.get("v"); v.Mark != volume.Block || m.found("v").UUID != uuid {
		t.Errorf("marked %s, and %+v", v.Mark, m.found("v"))
	}
}

// The mark is on the disk before a user can write to the device, whichever call gives it to that user.
func TestTheMarkComesBeforeTheDevice(t *testing.T) {
	staged := func(m *machine) { m.ok("stage", m.stage("v", block())) }
	for _, c := range []struct {
		name    string
		prepare func(*machine)
	}{
		{"staged for writing", staged},
		{"staged read-only, published for writing", func(m *machine) {
			m.ok("stage", m.stage("v", withMode(block(), reader)))
			if v := m.get("v"); v.Mark != volume.Used || !v.ReadOnly {
				t.Errorf("staged read-only, it is marked %s, read-only %t", v.Mark, v.ReadOnly)
			}
		}},
		{"staged by an earlier release", func(m *machine) {
			m.mark("v", volume.Used)
			_, err := m.fast.Pool.Attach(m.Context(), m.id("v"), false)
			m.ok("Attach", err)
			m.ok("make the staging path", os.Mkdir(m.path("staging", "v"), 0o750))
		}},
		{"cut off while the device changed its mode", func(m *machine) {
			m.mark("v", volume.Used)
			m.ok("make the staging path", os.Mkdir(m.path("staging", "v"), 0o750))
			m.publishRequest("v", "a", nil)
			m.ok("make the target", os.WriteFile(m.target("v", "a"), nil, 0o640))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.create("v")
			c.prepare(m)
			bound := 0
			m.watch = func(s step) error {
				if s.Method == "Bind" && !s.After {
					bound++
					if v := m.get("v"); v.Mark != volume.Block {
						t.Errorf("it is handed out with the mark %s", v.Mark)
					}
				}
				return nil
			}
			m.ok("publish", m.publish("v", "a", block()))
			if bound != 1 {
				t.Errorf("bound %d times", bound)
			}
		})
	}
}

func TestADeviceThatCannotBeWrittenLeavesTheMark(t *testing.T) {
	for mark, want := range map[volume.Mark]volume.Mark{volume.Fresh: volume.Used, volume.Used: volume.Used, volume.Block: volume.Block} {
		m := newMachine(t)
		m.create("v")
		m.mark("v", mark)
		m.ok("stage", m.stage("v", withMode(block(), reader)))
		m.ok("publish", m.publish("v", "a", withMode(block(), reader)))
		m.ok("publish again", m.publish("v", "a", withMode(block(), reader)))
		m.ok("unpublish", m.unpublish("v", "a"))
		if v := m.get("v"); v.Mark != want {
			t.Errorf("%s became %s; want %s", mark, v.Mark, want)
		}
	}
}

// What an earlier release has published as a block device is marked when anything is asked about it there.
func TestWhatAnEarlierReleaseHasPublishedIsMarked(t *testing.T) {
	for name, ask := range map[string]func(*machine) error{
		"publish":   func(m *machine) error { return m.publish("v", "a", block()) },
		"stage":     func(m *machine) error { return m.stage("v", block()) },
		"unpublish": func(m *machine) error { return m.unpublish("v", "a") },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.create("v")
			m.mark("v", volume.Used)
			device, err := m.fast.Pool.Attach(m.Context(), m.id("v"), false)
			m.ok("Attach", err)
			m.publishRequest("v", "a", nil)
			m.ok("make the target", os.WriteFile(m.target("v", "a"), nil, 0o640))
			m.ok("Bind", m.m.Bind(m.Context(), device, m.target("v", "a"), false))
			m.ok(name, ask(m))
			if v := m.get("v"); v.Mark != volume.Block {
				t.Errorf("marked %s", v.Mark)
			}
		})
	}
}

// Which file system it is, is not known before it is looked at, as with every volume that holds data.
func TestWhatWasABlockDeviceIsMountedWithTheOptionsOfItsFileSystem(t *testing.T) {
	m := newMachine(t)
	m.create("v", allowed, func(s *volume.Spec) { s.Size.RequiredBytes = volume.XFS.Least() })
	m.format("v", volume.XFS)
	m.mark("v", volume.Block)
	m.ok("stage", m.stage("v", mount("", "logbufs=8")))
	m.sees("staging/v of v xfs read-only=false")
}
