package node_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// refusal is a request that is refused and changes nothing.
type refusal struct {
	name string
	kind volume.Kind
	says string // what the message names
	do   func(m *machine) (any, error)
}

// refuse does each request on a machine of its own, on which "staged" is staged and published at pod
// a as a file system, "device" as a block device, and "fresh" is not used yet.
func refuse(t *testing.T, cases []refusal) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			for _, name := range []string{"fresh", "staged", "device"} {
				m.create(name)
			}
			m.ok("stage", m.stage("staged", mount("ext4")))
			m.ok("publish", m.publish("staged", "a", mount("ext4")))
			m.ok("stage", m.stage("device", block()))
			m.ok("publish", m.publish("device", "a", block()))
			m.stageRequest("fresh", nil)
			m.ok("make a directory", os.Mkdir(m.path("pods", "b"), 0o750))
			before := m.state()
			answer, err := c.do(m)
			if !reflect.ValueOf(answer).IsNil() {
				t.Errorf("answered %v beside the error", answer)
			}
			m.is(c.name, err, c.kind, c.says)
			// What a test itself put there is named "own".
			after := strings.Split(m.state(), "\n")
			kept := []string{}
			for _, line := range after {
				if !strings.Contains(line, "own") {
					kept = append(kept, line)
				}
			}
			m.same("after the refusal", strings.Join(kept, "\n"), before)
		})
	}
}

func stageWith(name string, c *csi.VolumeCapability, change func(m *machine, r *csi.NodeStageVolumeRequest)) func(m *machine) (any, error) {
	return func(m *machine) (any, error) {
		req := m.stageRequest(name, c)
		if change != nil {
			change(m, req)
		}
		return m.NodeStageVolume(m.Context(), req)
	}
}

func publishWith(name, pod string, c *csi.VolumeCapability, change func(m *machine, r *csi.NodePublishVolumeRequest)) func(m *machine) (any, error) {
	return func(m *machine) (any, error) {
		req := m.publishRequest(name, pod, c)
		if change != nil {
			change(m, req)
		}
		return m.NodePublishVolume(m.Context(), req)
	}
}

func TestStageRefuses(t *testing.T) {
	type req = csi.NodeStageVolumeRequest
	path := func(path string) func(*machine, *req) {
		return func(_ *machine, r *req) { r.StagingTargetPath = path }
	}
	id := func(id string) func(*machine, *req) { return func(_ *machine, r *req) { r.VolumeId = id } }
	many := csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
	refuse(t, []refusal{
		{"no volume", volume.Invalid, "volume_id", stageWith("fresh", mount(""), id(""))},
		{"no path", volume.Invalid, "staging_target_path", stageWith("fresh", mount(""), path(""))},
		{"no capability", volume.Invalid, "capability", stageWith("fresh", nil, nil)},
		{"half a capability", volume.Invalid, "neither mount nor block", stageWith("fresh", withMode(&csi.VolumeCapability{}, writer), nil)},
		{"an access mode of several nodes", volume.Invalid, "MULTI_NODE_MULTI_WRITER", stageWith("fresh", withMode(mount(""), many), nil)},
		{"an unknown file system", volume.Invalid, "ntfs", stageWith("fresh", mount("ntfs"), nil)},
		{"a mount option that mounts something else", volume.Invalid, "loop", stageWith("fresh", mount("", "loop=/dev/loop3"), nil)},
		{"a publish context that is not ours", volume.Invalid, volume.ContextReadOnly, stageWith("fresh", mount(""), func(_ *machine, r *req) {
			r.PublishContext = map[string]string{volume.ContextReadOnly: "perhaps"}
		})},
		{"a volume that does not exist", volume.NotFound, "n1/fast/none", stageWith("fresh", mount(""), id("n1/fast/none"))},
		{"a volume of another node", volume.NotFound, "n2", stageWith("fresh", mount(""), id("n2/fast/fresh"))},
		{"a pool that is not configured", volume.NotFound, "none", stageWith("fresh", mount(""), id("n1/none/fresh"))},
		{"a handle that climbs", volume.NotFound, "handle", stageWith("fresh", mount(""), id("n1/fast/../../etc"))},
		{"a handle with a control character", volume.NotFound, "handle", stageWith("fresh", mount(""), id("n1/fast/a\x00b"))},
		{"a handle of 129 bytes", volume.NotFound, "handle", stageWith("fresh", mount(""), id("n1/fast/"+strings.Repeat("a", 121)))},
		{"a relative path", volume.Invalid, "some/path", stageWith("fresh", mount(""), path("some/path"))},
		{"a path that climbs", volume.Invalid, "..", stageWith("fresh", mount(""), path("/var/../etc"))},
		{"a path with a control character", volume.Invalid, "control character", stageWith("fresh", mount(""), path("/var/a\x01b"))},
		{"the root directory", volume.Invalid, "root directory", stageWith("fresh", mount(""), path("//"))},
		{"a path that is too long", volume.Invalid, "4096 bytes", stageWith("fresh", mount(""), path("/"+strings.Repeat("a", 4095)))},
		{"a name that is too long", volume.Invalid, "file name too long", stageWith("fresh", mount(""), func(m *machine, r *req) {
			r.StagingTargetPath = m.path(strings.Repeat("a", 300))
		})},
		{"a path that is not there", volume.InUse, "not there", stageWith("fresh", mount(""), func(m *machine, r *req) {
			r.StagingTargetPath = m.path("staging", "missing")
		})},
		{"a path that is a link", volume.Invalid, "symbolic link", stageWith("fresh", mount(""), func(m *machine, r *req) {
			r.StagingTargetPath = m.path("staging", "own")
			m.ok("make a link", os.Symlink(m.path("staging", "fresh"), r.StagingTargetPath))
		})},
		{"a path that is a file", volume.Invalid, "regular file", stageWith("fresh", mount(""), func(m *machine, r *req) {
			r.StagingTargetPath = m.path("staging", "own")
			m.ok("make a file", os.WriteFile(r.StagingTargetPath, nil, 0o640))
		})},
		{"a path with something in it", volume.InUse, "not empty", stageWith("fresh", mount(""), func(m *machine, r *req) {
			m.ok("make a file", os.WriteFile(filepath.Join(r.StagingTargetPath, "own"), nil, 0o640))
		})},
		{"a path where another volume is mounted", volume.InUse, "is not volume", stageWith("fresh", mount(""), func(m *machine, r *req) {
			r.StagingTargetPath = m.path("staging", "staged")
		})},
		{"a block volume where another volume is mounted", volume.InUse, "is not volume", stageWith("fresh", block(), func(m *machine, r *req) {
			r.StagingTargetPath = m.path("staging", "staged")
		})},
		{"staged, but read-only now", volume.Exists, "for writing", stageWith("staged", withMode(mount(""), reader), nil)},
		{"staged, but another file system now", volume.Exists, "xfs", stageWith("staged", mount("xfs"), nil)},
		{"staged, but a block device now", volume.Exists, "mounted as ext4", stageWith("staged", block(), nil)},
		{"staged, and a second path", volume.InUse, "already", stageWith("staged", mount(""), func(m *machine, r *req) {
			r.StagingTargetPath = m.path("staging", "fresh")
		})},
		{"published as a block device, and a file system now", volume.InUse, "block device", stageWith("device", mount(""), nil)},
		{"nothing to read on a fresh volume", volume.InUse, "no file system yet", stageWith("fresh", withMode(mount(""), reader), nil)},
		{"too small for its file system", volume.InUse, "300MiB", stageWith("fresh", mount("xfs"), nil)},
	})
}
