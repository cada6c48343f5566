package node_test

import (
	"os"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

func TestUnstageAndUnpublishRefuse(t *testing.T) {
	unstage := func(id string, path func(m *machine) string) func(m *machine) (any, error) {
		return func(m *machine) (any, error) {
			return m.NodeUnstageVolume(m.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: id, StagingTargetPath: path(m)})
		}
	}
	unpublish := func(id string, path func(m *machine) string) func(m *machine) (any, error) {
		return func(m *machine) (any, error) {
			return m.NodeUnpublishVolume(m.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: id, TargetPath: path(m)})
		}
	}
	text := func(path string) func(*machine) string { return func(*machine) string { return path } }
	staged := func(m *machine) string { return m.path("staging", "staged") }
	target := func(m *machine) string { return m.target("staged", "a") }
	refuse(t, []refusal{
		{"unstage no volume", volume.Invalid, "volume_id", unstage("", staged)},
		{"unstage no path", volume.Invalid, "staging_target_path", unstage("n1/fast/staged", text(""))},
		{"unstage a relative path", volume.Invalid, "absolute", unstage("n1/fast/staged", text("some/path"))},
		{"unstage a volume of another node", volume.NotFound, "n2", unstage("n2/fast/staged", staged)},
		{"unstage a malformed handle", volume.NotFound, "handle", unstage("staged", staged)},
		{"unstage what is published", volume.InUse, "pods/a/staged", unstage("n1/fast/staged", staged)},
		{"unstage a block volume that is published", volume.InUse, "pods/a/device", unstage("n1/fast/device", func(m *machine) string {
			return m.path("staging", "device")
		})},
		{"unstage where another volume is", volume.InUse, "is not volume", unstage("n1/fast/fresh", staged)},
		{"unstage a volume that does not exist where another one is", volume.NotFound, "left there", unstage("n1/fast/none", staged)},
		{"unpublish no volume", volume.Invalid, "volume_id", unpublish("", target)},
		{"unpublish no path", volume.Invalid, "target_path", unpublish("n1/fast/staged", text(""))},
		{"unpublish a relative path", volume.Invalid, "absolute", unpublish("n1/fast/staged", text("some/path"))},
		{"unpublish where another volume is", volume.InUse, "is not volume", unpublish("n1/fast/fresh", target)},
		{"unpublish a volume that does not exist where another one is", volume.NotFound, "left there", unpublish("n1/fast/none", target)},
		{"unpublish an inline volume that does not exist where another one is", volume.NotFound, "left there", unpublish(inline, target)},
		{"unpublish a directory with something in it", volume.InUse, "not empty", unpublish("n1/fast/staged", func(m *machine) string {
			m.ok("make a directory", os.MkdirAll(m.path("pods", "own", "data"), 0o750))
			return m.path("pods", "own")
		})},
		{"unpublish a file with something in it", volume.InUse, "4 bytes", unpublish("n1/fast/staged", func(m *machine) string {
			m.ok("make a file", os.WriteFile(m.path("pods", "own"), []byte("text"), 0o640))
			return m.path("pods", "own")
		})},
		{"unpublish a link", volume.Invalid, "symbolic link", unpublish("n1/fast/staged", func(m *machine) string {
			m.ok("make a link", os.Symlink(m.path("pods", "b"), m.path("pods", "own")))
			return m.path("pods", "own")
		})},
		{"unpublish what is busy", volume.InUse, "busy", func(m *machine) (any, error) {
			release := m.m.Hold(m.target("staged", "a"))
			defer release()
			return m.NodeUnpublishVolume(m.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: "n1/fast/staged", TargetPath: m.target("staged", "a")})
		}},
	})
}

func TestUnstageAndUnpublishOfWhatIsNotThere(t *testing.T) {
	m := newMachine(t)
	m.create("v")
	m.stageRequest("v", nil)
	before := m.state()
	for _, id := range []string{"n1/fast/v", "n1/fast/none"} {
		for _, path := range []string{m.path("staging", "v"), m.path("missing"), m.path("missing", "below")} {
			_, err := m.NodeUnstageVolume(t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: id, StagingTargetPath: path})
			m.ok("unstage "+id+" at "+path, err)
		}
	}
	for _, id := range []string{"n1/fast/v", "n1/fast/none", "n2/fast/v", inline, strings.Repeat("a", 129), "a\x00"} {
		for _, path := range []string{m.path("missing"), m.path("missing", "below")} {
			_, err := m.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: id, TargetPath: path})
			m.ok("unpublish "+id+" at "+path, err)
		}
	}
	m.same("after all that", m.state(), before)
}
