package node_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

const (
	multiWriter  = csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER
	singleWriter = csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
	writer       = csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	reader       = csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY
)

func mount(fsType string, flags ...string) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: multiWriter},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: fsType, MountFlags: flags}},
	}
}

func block() *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: multiWriter},
		AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
	}
}

func withMode(c *csi.VolumeCapability, mode csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability {
	c.AccessMode = &csi.VolumeCapability_AccessMode{Mode: mode}
	return c
}

var readOnlyContext = map[string]string{volume.ContextReadOnly: "true"}

// stageRequest is what the kubelet sends; it makes the directory before.
func (m *machine) stageRequest(name string, c *csi.VolumeCapability) *csi.NodeStageVolumeRequest {
	m.Helper()
	path := m.path("staging", name)
	if err := os.Mkdir(path, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		m.Fatal(err)
	}
	return &csi.NodeStageVolumeRequest{VolumeId: m.id(name).String(), StagingTargetPath: path, VolumeCapability: c}
}

func (m *machine) stage(name string, c *csi.VolumeCapability) error {
	m.Helper()
	_, err := m.NodeStageVolume(m.Context(), m.stageRequest(name, c))
	return err
}

func (m *machine) unstage(name string) error {
	_, err := m.NodeUnstageVolume(m.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: m.id(name).String(), StagingTargetPath: m.path("staging", name)})
	return err
}

// publishRequest is what the kubelet sends; it makes the directory around the target before.
func (m *machine) publishRequest(name, pod string, c *csi.VolumeCapability) *csi.NodePublishVolumeRequest {
	m.Helper()
	target := m.target(name, pod)
	m.ok("make a directory", os.MkdirAll(filepath.Dir(target), 0o750))
	return &csi.NodePublishVolumeRequest{
		VolumeId: m.id(name).String(), StagingTargetPath: m.path("staging", name), TargetPath: target, VolumeCapability: c,
	}
}

func (m *machine) target(name, pod string) string { return m.path("pods", pod, name) }

func (m *machine) publish(name, pod string, c *csi.VolumeCapability) error {
	m.Helper()
	_, err := m.NodePublishVolume(m.Context(), m.publishRequest(name, pod, c))
	return err
}

func (m *machine) publishReadOnly(name, pod string, c *csi.VolumeCapability) error {
	m.Helper()
	req := m.publishRequest(name, pod, c)
	req.Readonly = true
	_, err := m.NodePublishVolume(m.Context(), req)
	return err
}

func (m *machine) unpublish(name, pod string) error {
	_, err := m.NodeUnpublishVolume(m.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: m.id(name).String(), TargetPath: m.target(name, pod)})
	return err
}

func (m *machine) expand(name, path string) error {
	_, err := m.NodeExpandVolume(m.Context(), &csi.NodeExpandVolumeRequest{VolumeId: m.id(name).String(), VolumePath: path})
	return err
}

func (m *machine) stats(name, path string) ([]*csi.VolumeUsage, error) {
	answer, err := m.NodeGetVolumeStats(m.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: m.id(name).String(), VolumePath: path})
	return answer.GetUsage(), err
}

// inline is a handle as the kubelet makes it.
var inline = "csi-" + strings.Repeat("0123456789abcdef", 4)

// inlineRequest is what the kubelet sends for an inline ephemeral volume of the pod.
func (m *machine) inlineRequest(pod string, attributes map[string]string) *csi.NodePublishVolumeRequest {
	m.Helper()
	req := m.publishRequest("inline", pod, withMode(mount(""), writer))
	req.VolumeId, req.StagingTargetPath = inline, ""
	req.VolumeContext = map[string]string{
		"csi.storage.k8s.io/ephemeral": "true", "csi.storage.k8s.io/pod.name": pod, "csi.storage.k8s.io/pod.namespace": "default",
		"csi.storage.k8s.io/pod.uid": "uid", "csi.storage.k8s.io/serviceAccount.name": "default", volume.KeySize: "8Mi",
	}
	for key, value := range attributes {
		req.VolumeContext[key] = value
	}
	return req
}

func (m *machine) publishInline(pod string, attributes map[string]string) error {
	m.Helper()
	_, err := m.NodePublishVolume(m.Context(), m.inlineRequest(pod, attributes))
	return err
}

func (m *machine) unpublishInline(pod string) error {
	_, err := m.NodeUnpublishVolume(m.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: inline, TargetPath: m.target("inline", pod)})
	return err
}
