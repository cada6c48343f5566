package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/node"
)

// stops are the ways in which a file system stops itself, or is stopped.
func stops() map[string]struct {
	t    volume.FSType
	stop func(m *real)
} {
	shutdown := func(m *real) { m.run("xfs_io", "-x", "-c", "shutdown", m.path("staging-v")) }
	type stop = struct {
		t    volume.FSType
		stop func(m *real)
	}
	return map[string]stop{
		"ext4 shut down": {volume.Ext4, shutdown},
		"ext4 read-only after an error": {volume.Ext4, func(m *real) {
			m.run("mount", "-o", "remount,errors=remount-ro", m.path("staging-v"))
			trigger := "/sys/fs/ext4/" + filepath.Base(m.device("v")) + "/trigger_fs_error"
			m.ok("trigger an error", os.WriteFile(trigger, []byte("1"), 0o200))
		}},
		"xfs shut down": {volume.XFS, shutdown},
		"btrfs read-only": {volume.Btrfs, func(m *real) { // as it makes itself, and not its mounts
			m.ok("make a directory", os.Mkdir(m.path("other"), 0o750))
			m.run("mount", "--bind", m.path("staging-v"), m.path("other"))
			m.run("mount", "-o", "remount,ro", m.path("other"))
			m.run("umount", m.path("other"))
		}},
	}
}

// takesWrites fails the test where the volume is not there for writing with what was written to it before.
func (m *real) takesWrites(target string) {
	m.Helper()
	m.holds(target+"/file", "v")
	m.write(target+"/new", "new")
}

// A pod that is only started again, on a file system that has stopped itself, finds it whole.
func TestAFileSystemThatHasStoppedIsMountedAnew(t *testing.T) {
	for what, c := range stops() {
		t.Run(what, func(t *testing.T) {
			m := newReal(t)
			m.use("v", c.t)
			m.ok("publish", m.publish("v", m.path("second"), mount("")))
			c.stop(m)
			m.is("publish a third", m.publish("v", m.path("third"), mount("")), volume.InUse, m.target("v")+", "+m.path("second"))
			m.is("stage again", m.stage("v", mount(string(c.t))), volume.InUse, m.path("second"))
			m.is("publish to where it is", m.publish("v", m.target("v"), mount("")), volume.InUse, "end these pods")
			m.ok("unpublish", m.unpublish("v", m.target("v")))
			m.is("publish while the second has it", m.publish("v", m.target("v"), mount("")), volume.InUse, m.path("second"))
			m.ok("unpublish", m.unpublish("v", m.path("second")))

			m.ok("publish", m.publish("v", m.target("v"), mount(string(c.t))))
			m.takesWrites(m.target("v"))
			m.ok("unpublish", m.unpublish("v", m.target("v")))
			if err := os.Remove(m.path("other")); err != nil && !os.IsNotExist(err) {
				t.Error(err)
			}
			c.stop(m)
			for range 2 {
				m.ok("stage again", m.stage("v", mount(string(c.t))))
			}
			m.takesWrites(m.path("staging-v"))
			m.ok("unstage", m.unstage("v"))
			if device := m.device("v"); device != "" {
				t.Errorf("%s is still there", device)
			}
		})
	}
}

// Errors that a person has to look at keep the pod waiting, and not for ever.
func TestAFileSystemThatCannotBeMendedIsTriedAgain(t *testing.T) {
	m := newReal(t)
	m.use("v", volume.Ext4)
	m.ok("unpublish", m.unpublish("v", m.target("v")))
	stops()["ext4 shut down"].stop(m)
	m.ran.fails = "e2fsck"
	for range 2 {
		m.is("publish", m.publish("v", m.target("v"), mount("ext4")), volume.Internal, "run e2fsck -f")
	}
	m.ran.fails = ""
	m.ok("publish", m.publish("v", m.target("v"), mount("ext4")))
	m.takesWrites(m.target("v"))
	m.ok("unpublish", m.unpublish("v", m.target("v")))
	stops()["ext4 shut down"].stop(m)
	m.ran.fails = "e2fsck"
	m.is("stage", m.stage("v", mount("ext4")), volume.Internal, "run e2fsck -f")
	if device := m.device("v"); device != "" {
		t.Errorf("staging it failed, and %s is there", device)
	}
	m.ran.fails = ""
	m.is("publish what is not staged", m.publish("v", m.target("v"), mount("ext4")), volume.InUse, "not staged")
	m.ok("stage", m.stage("v", mount("ext4")))
	m.takesWrites(m.path("staging-v"))
	m.ok("unstage", m.unstage("v"))
}

// The mount options of the pod hold for the mount that is made anew.
func TestWhatIsMountedAnewHasItsOptions(t *testing.T) {
	m := newReal(t)
	m.create("v", 4*size)
	m.ok("wipe", os.WriteFile(m.image("v"), make([]byte, 4*size), 0o600))
	m.ok("stage", m.stage("v", mount("ext4", "noexec")))
	m.run("xfs_io", "-x", "-c", "shutdown", m.path("staging-v"))
	m.ok("publish", m.publish("v", m.target("v"), mount("ext4", "noexec")))
	if options := m.run("findmnt", "--noheadings", "--output", "OPTIONS", m.target("v")); !strings.Contains(options, "noexec") {
		t.Errorf("mounted with %s", options)
	}
	m.ok("unpublish", m.unpublish("v", m.target("v")))
	m.ok("unstage", m.unstage("v"))
}

// A staging path that somebody has used while nothing was mounted there is not mounted over.
func TestWhatIsMountedAnewHidesNothing(t *testing.T) {
	m := newReal(t)
	m.use("v", volume.Ext4)
	m.ok("unpublish", m.unpublish("v", m.target("v")))
	m.run("umount", m.path("staging-v"))
	m.write(m.path("staging-v", "mine"), "written by hand")
	m.is("publish", m.publish("v", m.target("v"), mount("ext4")), volume.InUse, "not empty")
	m.holds(m.path("staging-v", "mine"), "written by hand")
	m.ok("remove", os.Remove(m.path("staging-v", "mine")))
	m.ok("publish", m.publish("v", m.target("v"), mount("ext4")))
	m.takesWrites(m.target("v"))
	m.ok("unpublish", m.unpublish("v", m.target("v")))
	m.ok("unstage", m.unstage("v"))
}

// A mark that says otherwise, as one that was brought back from a backup, has no file system made over what was mounted.
func TestWhatIsMountedIsNotFormattedAnew(t *testing.T) {
	for _, mark := range []volume.Mark{volume.Fresh, volume.Formatting} {
		t.Run(string(mark), func(t *testing.T) {
			m := newReal(t)
			m.use("v", volume.Ext4)
			m.ok("unpublish", m.unpublish("v", m.target("v")))
			stops()["ext4 shut down"].stop(m)
			marked := m.path("pool", "volumes", "v", string(mark))
			m.ok("write", os.WriteFile(marked, nil, 0o600))
			m.ran.taken()
			m.is("publish", m.publish("v", m.target("v"), mount("ext4")), volume.InUse, string(mark))
			if names := m.ran.taken(); len(names) > 0 {
				t.Errorf("publishing it ran %q", names)
			}
			m.ok("remove", os.Remove(marked))
			m.ok("publish", m.publish("v", m.target("v"), mount("ext4")))
			m.takesWrites(m.target("v"))
			m.ok("unpublish", m.unpublish("v", m.target("v")))
			m.ok("unstage", m.unstage("v"))
		})
	}
}

// A disk that hangs holds no call, which would keep the pods that use the volume from going.
func TestAFileSystemThatHangsIsNotWaitedFor(t *testing.T) {
	m := newMachine(t)
	m.Server = node.New(node.Config{Pools: m.pools, Machine: m.m, MaxVolumes: 7, Patience: time.Second})
	m.create("v")
	m.ok("stage", m.stage("v", mount("ext4")))
	m.ok("publish", m.publish("v", "a", mount("ext4")))
	hangs, asked := make(chan struct{}), atomic.Int32{}
	m.watch = func(s step) error {
		if s.Method == "Stopped" && !s.After {
			asked.Add(1)
			<-hangs
		}
		return nil
	}
	for range 2 {
		m.is("publish to a second", m.publish("v", "b", mount("ext4")), volume.Unavailable, "the file system at "+m.path("staging", "v"))
	}
	m.ok("unpublish", m.unpublish("v", "a"))
	m.ok("unstage", m.unstage("v"))
	close(hangs)
	if n := asked.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}
