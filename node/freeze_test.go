package node_test

import (
	"os"
	"testing"

	"github.com/loam-storage/loam/driver/volume"
)

// use makes a volume of that file system, stages and publishes it, and writes a file.
func (m *real) use(name string, t volume.FSType) {
	m.Helper()
	_, err := m.pool.Create(m.Context(), volume.Spec{ID: m.id(name), Size: volume.Range{RequiredBytes: max(t.Least(), 64*volume.MiB)}, FSType: t})
	m.ok("Create", err)
	m.ok("make a directory", os.Mkdir(m.path("staging-"+name), 0o750))
	m.ok("stage", m.stage(name, mount(string(t))))
	m.ok("publish", m.publish(name, m.target(name), mount(string(t))))
	m.write(m.target(name)+"/file", name)
}

func (m *real) write(path, text string) {
	m.Helper()
	f, err := os.Create(path)
	m.ok("create", err)
	_, err = f.WriteString(text)
	m.ok("write", err)
	m.ok("sync", f.Sync())
	m.ok("close", f.Close())
}

func (m *real) holds(path, text string) {
	m.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != text {
		m.Errorf("%s reads %q, %v; want %q", path, got, err, text)
	}
}

// A backup tool may freeze a file system whose pod ends before it is thawed.
func TestAPodThatEndsWhileItsFileSystemIsFrozen(t *testing.T) {
	for _, fsType := range volume.FSTypes() {
		for what, end := range map[string]func(m *real){
			"ends": func(m *real) {
				m.ok("unpublish", m.unpublish("v", m.target("v")))
				m.ok("unstage", m.unstage("v"))
			},
			"was unmounted by hand, and ends": func(m *real) {
				m.run("umount", m.target("v"), m.path("staging-v"))
				m.ok("unpublish", m.unpublish("v", m.target("v")))
				m.ok("unstage", m.unstage("v"))
			},
			"was unmounted by hand, and begins again": func(m *real) {
				m.run("umount", m.target("v"), m.path("staging-v"))
				m.ok("stage", m.stage("v", mount("")))
				m.write(m.path("staging-v", "further"), "it takes writes")
				m.ok("unstage", m.unstage("v"))
			},
		} {
			t.Run(string(fsType)+" "+what, func(t *testing.T) {
				m := newReal(t)
				m.use("v", fsType)
				m.run("fsfreeze", "--freeze", m.target("v"))
				end(m)
				if device := m.device("v"); device != "" {
					t.Errorf("%s is still there", device)
				}
				m.ok("stage", m.stage("v", mount(string(fsType))))
				m.holds(m.path("staging-v", "file"), "v")
				m.write(m.path("staging-v", "file"), "it takes writes")
				m.ok("unstage", m.unstage("v"))
				m.ok("Delete", m.pool.Delete(t.Context(), m.id("v")))
			})
		}
	}
}

// Who ends while others have the file system thaws nothing.
func TestAFreezeOutlivesAPodThatIsNotTheLast(t *testing.T) {
	m := newReal(t)
	m.use("v", volume.Ext4)
	m.run("fsfreeze", "--freeze", m.target("v"))
	m.ok("unpublish", m.unpublish("v", m.target("v")))
	m.run("fsfreeze", "--unfreeze", m.path("staging-v"))
	m.ok("unstage", m.unstage("v"))
}
