package node_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// data is 4 KiB of what no file system tool knows.
var data = strings.Repeat("precious", 512)

// What must hold: a file system is made only on a volume whose fresh mark stands and that is blank.
func TestNothingIsFormattedThatMayHoldData(t *testing.T) {
	unreadable := volume.Errorf(volume.Internal, "probe: input/output error")
	lie := func(found host.Signature) func(m *machine) {
		return func(m *machine) {
			m.m.Lie(func(string, host.Signature, error) (host.Signature, error) { return found, nil })
		}
	}
	cases := []struct {
		name    string
		prepare func(m *machine)
		kind    volume.Kind
		says    string
	}{
		{"a probe that fails", func(m *machine) { m.m.Fail("Probe", unreadable) }, volume.Internal, "input/output error"},
		{"a probe that fails with an answer", func(m *machine) {
			m.m.Lie(func(string, host.Signature, error) (host.Signature, error) {
				return host.Signature{Blank: true}, unreadable
			})
		}, volume.Internal, "input/output error"},
		{"a probe that says nothing", lie(host.Signature{}), volume.InUse, "unknown data"},
		{"a probe that finds something", lie(host.Signature{Type: "crypto_LUKS"}), volume.InUse, "crypto_LUKS"},
		{"data at the end", func(m *machine) { m.write("v", size-4*volume.KiB, data) }, volume.InUse, "not blank"},
		{"data at the beginning", func(m *machine) { m.write("v", 0, data) }, volume.InUse, "not blank"},
		{"a file system on a volume that is marked fresh", func(m *machine) {
			m.create("other")
			m.format("other", volume.Ext4)
			m.write("v", 0, m.read("other", 0, int(size)))
		}, volume.InUse, "not blank (ext4)"},
		{"used, and a probe that lies: blank", func(m *machine) {
			m.write("v", 0, data)
			m.mark("v", volume.Used)
			lie(host.Signature{Blank: true})(m)
		}, volume.InUse, "no file system"},
		{"used, and really blank", func(m *machine) { m.mark("v", volume.Used) }, volume.InUse, "no file system"},
		{"used, and data that is no file system", func(m *machine) {
			m.write("v", 0, data)
			m.mark("v", volume.Used)
		}, volume.InUse, "no file system"},
		{"used, and a file system that loam does not mount", func(m *machine) {
			m.mark("v", volume.Used)
			lie(host.Signature{Type: "vfat"})(m)
		}, volume.InUse, "vfat"},
		{"used, and a probe that lies: another type", func(m *machine) {
			m.format("v", volume.Ext4)
			lie(host.Signature{Type: "xfs"})(m)
		}, volume.InUse, "xfs"},
		{"used, and a probe that fails", func(m *machine) {
			m.format("v", volume.Ext4)
			m.m.Fail("Probe", unreadable)
		}, volume.Internal, "input/output error"},
		{"formatting, and a file system of another type", func(m *machine) {
			m.mark("v", volume.Formatting)
			lie(host.Signature{Type: "btrfs"})(m)
		}, volume.InUse, "left alone"},
		{"formatting, and a mkfs that still runs", func(m *machine) {
			m.mark("v", volume.Formatting)
			m.m.Fail("Claim", volume.Errorf(volume.Busy, "device is held by another process"))
		}, volume.Busy, "held"},
		{"formatting, and a device that does not become blank", func(m *machine) {
			m.mark("v", volume.Formatting)
			lie(host.Signature{Type: "ext4"})(m)
		}, volume.InUse, "not blank"},
		{"a mark that cannot be set", func(m *machine) {
			m.watch = failOnce("pool.Mark", errors.New("disk full"))
		}, volume.Internal, "disk full"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.create("v")
			c.prepare(m)
			request := m.stageRequest("v", mount("ext4"))
			mark, bytes, before := m.get("v").Mark, m.read("v", 0, int(size)), m.state()
			_, err := m.NodeStageVolume(m.Context(), request)
			m.is("stage", err, c.kind, c.says)
			if now := m.read("v", 0, int(size)); now != bytes {
				t.Error("the device was written to")
			}
			if m.get("v").Mark != mark {
				t.Errorf("the mark was %s and is %s", mark, m.get("v").Mark)
			}
			m.same("after the failure", m.state(), before)
		})
	}
}

// failOnce fails the next step of a method before it does anything.
func failOnce(method string, err error) func(step) error {
	return func(s step) error {
		if s.Method == method && !s.After && err != nil {
			failed := err
			err = nil
			return failed
		}
		return nil
	}
}

func TestAMkfsThatWasCutOffIsDoneAgain(t *testing.T) {
	cases := map[string]func(m *machine){
		"before it wrote": func(*machine) {},
		"in the middle of the device": func(m *machine) {
			m.write("v", size/2, "left over")
		},
		"at the end of the device": func(m *machine) { m.write("v", size-4*volume.KiB, "left over") },
		"before the mark": func(m *machine) {
			m.create("other")
			m.format("other", volume.Ext4)
			m.write("v", 0, m.read("other", 0, int(size)))
		},
	}
	for name, left := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.create("v")
			left(m)
			m.mark("v", volume.Formatting)
			uuid := m.found("v").UUID
			m.ok("stage", m.stage("v", mount("ext4")))
			v, found := m.get("v"), m.found("v")
			if v.Mark != volume.Used || found.Type != "ext4" || found.UUID == uuid {
				t.Errorf("marked %s, holds %+v; before it was %s", v.Mark, found, uuid)
			}
			if strings.Contains(m.read("v", 0, int(size)), "left over") {
				t.Error("what was left over is still there")
			}
			m.ok("unstage", m.unstage("v"))
			m.ok("stage", m.stage("v", mount("ext4")))
			if m.found("v").UUID != found.UUID {
				t.Error("it was formatted again")
			}
		})
	}
}

// A mkfs that ends and says that it failed has perhaps written something.
func TestAMkfsThatFailsLeavesTheVolumeUsable(t *testing.T) {
	for _, after := range []bool{false, true} {
		m := newMachine(t)
		m.create("v")
		m.watch = func(s step) error {
			if s.Method == "Format" && s.After == after {
				return volume.Errorf(volume.Internal, "mkfs was killed")
			}
			return nil
		}
		m.is("stage", m.stage("v", mount("")), volume.Internal, "mkfs was killed")
		if v := m.get("v"); v.Mark != volume.Formatting || v.Attached() {
			t.Errorf("after the failure: %+v", v)
		}
		m.watch = func(step) error { return nil }
		m.ok("stage", m.stage("v", mount("")))
	}
}

// The mark that allows to zero a device has to be confirmed by the pool at that moment.
func TestNothingIsZeroedThatThePoolDoesNotConfirm(t *testing.T) {
	m := newMachine(t)
	m.create("v")
	m.write("v", 0, "kept")
	m.mark("v", volume.Formatting)
	m.watch = func(s step) error {
		if s.Method == "pool.Mark" && !s.After {
			return volume.Errorf(volume.Unavailable, "LVM does not see it so")
		}
		return nil
	}
	m.is("stage", m.stage("v", mount("ext4")), volume.Unavailable, "does not see it so")
	m.watch = func(step) error { return nil }
	if got := m.read("v", 0, 4); got != "kept" {
		t.Errorf("it was zeroed, and holds %q", got)
	}
}

func TestMkfsOptions(t *testing.T) {
	const uuid = "9a4f6c3e-0b1d-4c55-9f0a-5d2b8f7f1e11"
	for fsType, options := range map[volume.FSType]string{
		volume.Ext4:  "-L silo -E stride=16,stripe_width=64,lazy_itable_init=0 -O ^has_journal,quota -m 1 -i 8192 -U " + uuid,
		volume.XFS:   "-L silo -d agcount=2 -i size=1024,maxpct=10 -n size=8192 -l size=64m -s size=4096 -b size=4096 -m reflink=0,uuid=" + uuid,
		volume.Btrfs: "-L silo -d single --metadata dup --features no-holes,^extref --csum xxhash -n 16384",
	} {
		m := newMachine(t)
		p, _, err := volume.ParseParameters(map[string]string{volume.KeyMkfsOptions: options})
		m.ok("ParseParameters", err)
		m.create("v", func(s *volume.Spec) { s.Parameters, s.Size.RequiredBytes = p, fsType.Least() })
		m.ok("stage", m.stage("v", mount(string(fsType))))
		if found := m.found("v"); (found.UUID == uuid) != strings.Contains(options, uuid) || found.Type != string(fsType) {
			t.Errorf("holds %+v", found)
		}
	}
}

// The options are known when a volume is created, and the file system perhaps only when it is staged.
func TestMkfsOptionsOfAnotherFileSystemAreRefused(t *testing.T) {
	for _, c := range []struct {
		asked   string
		created volume.FSType
		options string
	}{
		{"", "", "-d agcount=4"}, {"xfs", "", "-N 4096"}, {"", volume.Btrfs, "-m 1"}, {"ext4", "", "-d etc"}, {"btrfs", volume.Btrfs, "-r etc"}, {"xfs", "", "-N"},
	} {
		m := newMachine(t)
		m.create("v", func(s *volume.Spec) {
			s.Size.RequiredBytes, s.FSType, s.Parameters.MkfsOptions = volume.XFS.Least(), c.created, c.options
		})
		request := m.stageRequest("v", mount(c.asked))
		before := m.state()
		_, err := m.NodeStageVolume(m.Context(), request)
		m.is("stage "+c.options, err, volume.InUse, volume.KeyMkfsOptions)
		m.same("after the failure", m.state(), before)
		if v := m.get("v"); v.Mark != volume.Fresh {
			t.Errorf("marked %s", v.Mark)
		}
		m.ok("stage as a block device", m.stage("v", block()))
	}
}

func TestABlockVolumeIsNeverFormattedLater(t *testing.T) {
	m := newMachine(t)
	m.create("v")
	m.ok("stage", m.stage("v", block()))
	m.ok("publish", m.publish("v", "a", block()))
	m.write("v", size/2, data) // where no probe looks
	m.ok("unpublish", m.unpublish("v", "a"))
	m.ok("unstage", m.unstage("v"))
	m.is("stage", m.stage("v", mount("")), volume.InUse, volume.KeyAllowBlock)
	if m.read("v", size/2, len(data)) != data {
		t.Error("the data is gone")
	}
}
