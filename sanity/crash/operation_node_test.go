package crash_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

func stagingPath(dir, name string) string { return filepath.Join(dir, "staging", name) }
func targetsDir(dir string) string        { return filepath.Join(dir, "pods") }

// absent says whether nothing is at a path.
func absent(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is still there (%w)", path, err)
	}
	return nil
}

func (m *model) stage(v vol, readOnly bool) operation {
	first := "again"
	if !v.data.used {
		first = "first"
	}
	o := named("NodeStageVolume", v.pool+" "+v.form+" "+first, "%s %s %s", v.handle, v.form, mode(readOnly))
	path := stagingPath(m.dir, v.name)
	o.prepare = func() error { return os.MkdirAll(path, 0o750) }
	o.call = func(ctx context.Context, c clients) error {
		_, err := c.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{
			VolumeId: v.handle, StagingTargetPath: path, VolumeCapability: capabilityFor(v.form, readOnly), PublishContext: v.context,
		})
		return err
	}
	o.examine, o.fills = v.handle, true
	if v.isBlock() && v.attached && v.deviceReadOnly != readOnly {
		o.missing = m.deviceKeys(v)
	}
	o.change = func(m *model) {
		m.change(v.handle, func(v *vol) {
			switch {
			case v.isBlock():
				v.deviceReadOnly = readOnly
				v.data.block = v.data.block || !readOnly
			case !v.attached:
				v.deviceReadOnly = false // what is mounted read-only has a device that can be written
			}
			v.attached, v.staging, v.stagedReadOnly, v.data.used = true, path, readOnly, true
		})
	}
	return o
}

// deviceKeys are the keys of the state that a volume has while it is attached.
func (m *model) deviceKeys(v vol) []string {
	return []string{"device " + m.where.device(m.dir, v), "published " + v.handle}
}

func (m *model) unstage(v vol) operation {
	o := named("NodeUnstageVolume", v.form, "%s", v.handle)
	o.call = func(ctx context.Context, c clients) error {
		_, err := c.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: v.handle, StagingTargetPath: v.staging})
		return err
	}
	o.tidy = func() error { return removeIfThere(v.staging) } // which fails if something is mounted or left there
	o.change = func(m *model) {
		m.change(v.handle, func(v *vol) {
			detached(v)
			v.staging, v.stagedReadOnly = "", false
		})
	}
	return o
}

func (m *model) publish(v vol, pod string, readOnly bool) operation {
	target := filepath.Join(targetsDir(m.dir), pod)
	o := named("NodePublishVolume", v.form, "%s at %s %s", v.handle, pod, mode(readOnly))
	request := &csi.NodePublishVolumeRequest{
		VolumeId: v.handle, StagingTargetPath: v.staging, TargetPath: target, PublishContext: v.context,
		VolumeCapability: capabilityFor(v.form, v.stagedReadOnly), Readonly: readOnly,
	}
	o.call = func(ctx context.Context, c clients) error {
		_, err := c.NodePublishVolume(ctx, request)
		return err
	}
	o.examine = v.handle
	if v.isBlock() && v.deviceReadOnly != readOnly {
		o.missing = m.deviceKeys(v)
	}
	o.change = func(m *model) {
		m.change(v.handle, func(v *vol) {
			if v.targets == nil {
				v.targets = map[string]bool{}
			}
			v.targets[target] = readOnly
			if v.isBlock() {
				v.deviceReadOnly = readOnly
				v.data.block = v.data.block || !readOnly
			}
		})
	}
	return o
}

// unpublish takes a volume away from a target, and deletes it if it is an inline one.
func (m *model) unpublish(v vol, target string) operation {
	like, handle := v.form, v.handle
	if v.inline != "" {
		like, handle = "inline", v.inline
	}
	o := named("NodeUnpublishVolume", like, "%s at %s", v.handle, filepath.Base(target))
	o.call = func(ctx context.Context, c clients) error {
		_, err := c.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: handle, TargetPath: target})
		if err != nil {
			return err
		}
		return absent(target)
	}
	o.change = func(m *model) {
		if v.inline != "" {
			delete(m.volumes, v.handle)
			return
		}
		m.change(v.handle, func(v *vol) { delete(v.targets, target) })
	}
	return o
}

// publishInline makes an inline ephemeral volume.
func (m *model) publishInline(handle, pool, form, pod string, size volume.Size, readOnly bool) operation {
	target := filepath.Join(targetsDir(m.dir), pod)
	v := vol{
		handle: handleOf(pool, handle), pool: pool, name: volume.NameFor(handle), form: form, size: size, inline: handle,
		attached: true, targets: map[string]bool{target: readOnly}, data: data{used: true},
	}
	o := named("NodePublishVolume", "inline "+pool+" "+form, "inline %s, %s of %s, at %s %s", v.handle, form, size, pod, mode(readOnly))
	request := &csi.NodePublishVolumeRequest{
		VolumeId: handle, TargetPath: target, VolumeCapability: capabilityFor(form, false), Readonly: readOnly,
		VolumeContext: map[string]string{
			"csi.storage.k8s.io/ephemeral": "true", "csi.storage.k8s.io/pod.name": pod,
			volume.KeyPool: pool, volume.KeySize: fmt.Sprint(int64(size)),
		},
	}
	o.call = func(ctx context.Context, c clients) error {
		_, err := c.NodePublishVolume(ctx, request)
		return err
	}
	o.examine, o.fills = v.handle, true
	o.change = func(m *model) { m.volumes[v.handle] = v }
	return o
}

// expandNode makes the file system of a volume as large as the volume.
func (m *model) expandNode(v vol, path string) operation {
	o := named("NodeExpandVolume", v.form, "%s to %s", v.handle, v.size)
	o.call = func(ctx context.Context, c clients) error {
		answer, err := c.NodeExpandVolume(ctx, &csi.NodeExpandVolumeRequest{
			VolumeId: v.handle, VolumePath: path, StagingTargetPath: v.staging, CapacityRange: atLeast(v.size),
		})
		if err == nil && answer.GetCapacityBytes() != int64(v.size) {
			return wrong("size", answer.GetCapacityBytes(), v.size)
		}
		return err
	}
	o.examine, o.fills = v.handle, true
	return o
}
