package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

func TestPublishRefuses(t *testing.T) {
	type req = csi.NodePublishVolumeRequest
	target := func(path string) func(*machine, *req) {
		return func(_ *machine, r *req) { r.TargetPath = path }
	}
	id := func(id string) func(*machine, *req) { return func(_ *machine, r *req) { r.VolumeId = id } }
	staging := func(name string) func(*machine, *req) {
		return func(m *machine, r *req) {
			r.StagingTargetPath = ""
			if name != "" {
				r.StagingTargetPath = m.path("staging", name)
			}
		}
	}
	readOnly := func(_ *machine, r *req) { r.Readonly = true }
	link := func(m *machine, r *req) {
		r.TargetPath = m.path("pods", "own")
		m.ok("make a link", os.Symlink(m.path("pods", "b"), r.TargetPath))
	}
	refuse(t, []refusal{
		{"no volume", volume.Invalid, "volume_id", publishWith("staged", "b", mount(""), id(""))},
		{"no path", volume.Invalid, "target_path", publishWith("staged", "b", mount(""), target(""))},
		{"no capability", volume.Invalid, "capability", publishWith("staged", "b", nil, nil)},
		{"neither capability nor staging path", volume.Invalid, "capability", publishWith("staged", "b", nil, staging(""))},
		{"no staging path", volume.InUse, "staging_target_path", publishWith("staged", "b", mount(""), staging(""))},
		{"no staging path, block", volume.InUse, "staging_target_path", publishWith("device", "b", block(), staging(""))},
		{"a volume that does not exist", volume.NotFound, "n1/fast/none", publishWith("staged", "b", mount(""), id("n1/fast/none"))},
		{"a handle with a control character", volume.NotFound, "handle", publishWith("staged", "b", mount(""), id("a\x07"))},
		{"a handle of 129 bytes", volume.NotFound, "handle", publishWith("staged", "b", mount(""), id(strings.Repeat("a", 129)))},
		{"a relative path", volume.Invalid, "some/path", publishWith("staged", "b", mount(""), target("some/path"))},
		{"a path that climbs", volume.Invalid, "..", publishWith("staged", "b", mount(""), target("/var/../etc"))},
		{"a path without its directory", volume.InUse, "is not there", publishWith("staged", "b", mount(""), func(m *machine, r *req) {
			r.TargetPath = m.path("pods", "missing", "target")
		})},
		{"a block path without its directory", volume.InUse, "is not there", publishWith("device", "b", block(), func(m *machine, r *req) {
			r.TargetPath = m.path("pods", "missing", "target")
		})},
		{"a path that is a link", volume.Invalid, "symbolic link", publishWith("staged", "b", mount(""), link)},
		{"a block path that is a link", volume.Invalid, "symbolic link", publishWith("device", "b", block(), link)},
		{"a path that is a file", volume.Invalid, "regular file", publishWith("staged", "b", mount(""), func(m *machine, r *req) {
			r.TargetPath = m.path("pods", "own")
			m.ok("make a file", os.WriteFile(r.TargetPath, nil, 0o640))
		})},
		{"a block path that is a directory", volume.Invalid, "directory", publishWith("device", "b", block(), func(m *machine, r *req) {
			r.TargetPath = m.path("pods", "b")
		})},
		{"a path with something in it", volume.InUse, "not empty", publishWith("staged", "b", mount(""), func(m *machine, r *req) {
			r.TargetPath = m.path("pods", "b")
			m.ok("make a file", os.WriteFile(filepath.Join(r.TargetPath, "own"), nil, 0o640))
		})},
		{"a block path with something in it", volume.InUse, "4 bytes", publishWith("device", "b", block(), func(m *machine, r *req) {
			r.TargetPath = m.path("pods", "own")
			m.ok("make a file", os.WriteFile(r.TargetPath, []byte("text"), 0o640))
		})},
		{"a path where something else is mounted", volume.InUse, "is not volume", publishWith("staged", "b", mount(""), func(m *machine, r *req) {
			r.TargetPath = m.path("pods", "a", "device")
		})},
		{"a path inside the volume", volume.Invalid, "inside", publishWith("staged", "b", mount(""), func(m *machine, r *req) {
			r.TargetPath = filepath.Join(r.StagingTargetPath, "below")
		})},
		{"the staging path", volume.Invalid, "inside", publishWith("staged", "b", mount(""), func(_ *machine, r *req) {
			r.TargetPath = r.StagingTargetPath
		})},
		{"not staged", volume.InUse, "not staged", publishWith("fresh", "b", mount(""), nil)},
		{"not staged, block", volume.InUse, "not staged", publishWith("fresh", "b", block(), nil)},
		{"not staged at that path", volume.InUse, "not staged", publishWith("staged", "b", mount(""), staging("fresh"))},
		{"another volume at the staging path", volume.InUse, "is not volume", publishWith("fresh", "b", mount(""), staging("staged"))},
		{"staged as a file system, block now", volume.InUse, "mounted as ext4", publishWith("staged", "b", block(), nil)},
		{"staged as block, a file system now", volume.InUse, "not staged", publishWith("device", "b", mount(""), nil)},
		{"staged as another file system", volume.InUse, "xfs", publishWith("staged", "b", mount("xfs"), nil)},
		{"the same path, read-only", volume.Exists, "for writing", publishWith("staged", "a", mount(""), readOnly)},
		{"the same path, block", volume.Exists, "file system", publishWith("staged", "a", block(), nil)},
		{"the same path, another file system", volume.Exists, "btrfs", publishWith("staged", "a", mount("btrfs"), nil)},
		{"the same block path, read-only", volume.Exists, "for writing", publishWith("device", "a", block(), readOnly)},
		{"the same block path, a file system", volume.Exists, "block device", publishWith("device", "a", mount(""), nil)},
		{"another block path, read-only", volume.InUse, "for writing", publishWith("device", "b", block(), readOnly)},
		{"a second path for a single writer", volume.InUse, "SINGLE_WRITER", publishWith("staged", "b", withMode(mount(""), singleWriter), nil)},
		{"a second path for a writer", volume.InUse, "SINGLE_NODE_WRITER", publishWith("staged", "b", withMode(mount(""), writer), nil)},
		{"a second block path for a single writer", volume.InUse, "SINGLE_WRITER", publishWith("device", "b", withMode(block(), singleWriter), nil)},
		{"a second path, read-only, for a single writer", volume.InUse, "SINGLE_WRITER", publishWith("staged", "b", withMode(mount(""), singleWriter), readOnly)},
	})
}

func TestOneTargetModesAllowTheirOneTargetAgain(t *testing.T) {
	for _, mode := range []csi.VolumeCapability_AccessMode_Mode{writer, singleWriter} {
		for _, c := range []*csi.VolumeCapability{mount(""), block()} {
			m := newMachine(t)
			m.create("v")
			m.ok("stage", m.stage("v", withMode(c, mode)))
			for range 2 {
				m.ok("publish", m.publish("v", "a", c))
			}
			m.is("a second path", m.publish("v", "b", c), volume.InUse, "pods/a/v")
			m.ok("unpublish", m.unpublish("v", "a"))
			m.ok("publish to the next pod", m.publish("v", "b", c))
		}
	}
}
