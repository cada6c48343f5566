package node_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"github.com/loam-storage/loam/driver/volume"
)

// What was attached read-only shows an older state where its last use was cut off, and the log says so.
func TestAReadOnlyVolumeThatWasCutOffIsSaidToBeOlder(t *testing.T) {
	for _, fsType := range []volume.FSType{volume.Ext4, volume.XFS} {
		for what, cutOff := range map[string]bool{"cut off": true, "ended well": false} {
			t.Run(string(fsType)+" "+what, func(t *testing.T) {
				m := newReal(t)
				m.use("v", fsType)
				if cutOff {
					m.run("xfs_io", "-x", "-c", "shutdown -f", m.path("staging-v"))
				}
				m.ok("unpublish", m.unpublish("v", m.target("v")))
				m.ok("unstage", m.unstage("v"))

				var said bytes.Buffer
				log := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&said)))
				_, err := m.NodeStageVolume(klog.NewContext(t.Context(), log), &csi.NodeStageVolumeRequest{
					VolumeId: m.id("v").String(), StagingTargetPath: m.path("staging-v"),
					VolumeCapability: withMode(mount(string(fsType)), reader), PublishContext: readOnlyContext})
				m.ok("stage read-only", err)
				if older := strings.Contains(said.String(), "older state"); older != cutOff {
					t.Errorf("the log says %q", said.String())
				}
				if _, err := os.ReadFile(m.path("staging-v", "file")); err != nil && !cutOff {
					t.Error(err)
				}
				m.ok("unstage", m.unstage("v"))
				m.ok("stage", m.stage("v", mount(string(fsType))))
				m.holds(m.path("staging-v", "file"), "v")
				m.ok("unstage", m.unstage("v"))
			})
		}
	}
}

// A kernel that mounts one btrfs of a UUID at a time says so, also of a copy that is attached read-only.
func TestAReadOnlyCopyBesideItsSource(t *testing.T) {
	m := newReal(t)
	m.use("v", volume.Btrfs)
	m.ok("unpublish", m.unpublish("v", m.target("v")))
	m.ok("unstage", m.unstage("v"))
	m.use("w", volume.Btrfs)
	m.ok("unpublish", m.unpublish("w", m.target("w")))
	m.ok("unstage", m.unstage("w"))
	m.run("cp", "--sparse=always", m.image("v"), m.image("w"))
	m.ok("stage", m.stage("v", mount("btrfs")))
	_, err := m.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{
		VolumeId: m.id("w").String(), StagingTargetPath: m.path("staging-w"),
		VolumeCapability: withMode(mount("btrfs"), reader), PublishContext: readOnlyContext})
	if err != nil {
		m.is("stage the copy", err, volume.InUse, "same UUID")
	}
	m.ok("unstage", m.unstage("w"))
	m.ok("unstage", m.unstage("v"))
}
