package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/compat"
)

// fill makes everything that a pool can have in it.
func (m *maker) fill(ctx context.Context, bin string) error {
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return m.cutOffFormatting(ctx, bin) },
		m.database, m.xfs, m.btrfs, m.block, m.group1, m.copies, m.gone, m.untouched, m.named, m.inline, m.withdrawAll,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// empty returns a request for an empty volume.
func empty(name, fsType string, size volume.Size, parameters map[string]string) *csi.CreateVolumeRequest {
	return &csi.CreateVolumeRequest{
		Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: int64(size)}, Parameters: parameters,
		VolumeCapabilities: []*csi.VolumeCapability{compat.Access(fsType)},
	}
}

// cutOffFormatting leaves a volume whose mkfs was killed together with loam: a mkfs.ext4 of ours writes something into
// the middle and waits for that.
func (m *maker) cutOffFormatting(ctx context.Context, bin string) error {
	mkfs, began := filepath.Join(bin, "mkfs.ext4"), filepath.Join(bin, "began")
	script := fmt.Sprintf("#!/bin/sh\nfor device; do :; done\nyes what a mkfs left | head -c 65536 | dd of=$device bs=65536 seek=100 conv=fsync 2>/dev/null\necho $$ >%[1]s.new\nmv %[1]s.new %[1]s\nexec sleep 1000\n", began)
	if err := os.WriteFile(mkfs, []byte(script), 0o755); err != nil {
		return err
	}
	v, err := m.create(ctx, empty("cut-off", "ext4", 32*volume.MiB, nil))
	if err != nil {
		return err
	}
	at := filepath.Join(m.dir, "cut-off")
	go func() { _ = m.driver.Publish(ctx, v.Row.Handle(), compat.Access("ext4"), at) }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if text, err := os.ReadFile(began); err == nil {
			err = m.driver.Kill()
			var pid int
			if _, scanErr := fmt.Sscan(string(text), &pid); scanErr != nil {
				return errors.Join(err, scanErr)
			}
			process, findErr := os.FindProcess(pid)
			if err = errors.Join(err, findErr); err == nil {
				err = process.Kill()
			}
			if err = errors.Join(err, os.Remove(mkfs)); err != nil {
				return err
			}
			break
		}
		if time.Now().After(deadline) {
			return errors.New("no mkfs began")
		}
	}
	if err := m.driver.Start(ctx, m.config()); err != nil {
		return err
	}
	return m.driver.Unpublish(ctx, v.Row.Handle(), at)
}

// database is an ext4 with mkfs options and a claim, and two snapshots of it.
func (m *maker) database(ctx context.Context) error {
	v, err := m.create(ctx, empty("pvc-8f14e45f-ceea-467f-9b7a-0d2a8e3b1c11", "ext4", 48*volume.MiB, map[string]string{
		"mkfsOptions": "-m 1 -i 8192", "csi.storage.k8s.io/pvc/name": "data-db-0", "csi.storage.k8s.io/pvc/namespace": "shop",
		"csi.storage.k8s.io/pv/name": "pvc-8f14e45f-ceea-467f-9b7a-0d2a8e3b1c11",
	}))
	if err != nil {
		return err
	}
	at, err := m.publish(ctx, v.Row.Handle(), compat.Access("ext4"))
	if err != nil {
		return err
	}
	return errors.Join(
		compat.WriteFile(at, "base/1", 20000), compat.WriteFile(at, "base/2", 70000), m.snapshot(ctx, "snap-db", v.Row.Handle()),
		compat.WriteFile(at, "wal", 30000))
}

// xfs grows while it is mounted.
func (m *maker) xfs(ctx context.Context) error {
	v, err := m.create(ctx, empty("xfs", "xfs", 300*volume.MiB, map[string]string{"pool": poolName}))
	if err != nil {
		return err
	}
	id := v.Row.Handle()
	at, err := m.publish(ctx, id, compat.Access("xfs"))
	if err != nil {
		return err
	}
	if err := compat.WriteFile(at, "broker/segment", 40000); err != nil {
		return err
	}
	size := &csi.CapacityRange{RequiredBytes: int64(320 * volume.MiB)}
	if _, err := m.driver.Controller.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: size}); err != nil {
		return err
	}
	if _, err := m.driver.Node.NodeExpandVolume(ctx, &csi.NodeExpandVolumeRequest{VolumeId: id, VolumePath: at, StagingTargetPath: at + "-staging"}); err != nil {
		return err
	}
	if m.thick() {
		return nil
	}
	return m.snapshot(ctx, "a name with blanks, and longer than the forty-eight bytes of a handle", id)
}

// btrfs is expanded while it is mounted nowhere, so that its file system is smaller than it.
func (m *maker) btrfs(ctx context.Context) error {
	if m.thick() {
		return nil
	}
	v, err := m.create(ctx, empty("btrfs", "btrfs", 256*volume.MiB, nil))
	if err != nil {
		return err
	}
	id := v.Row.Handle()
	at, err := m.publish(ctx, id, compat.Access("btrfs"))
	if err != nil {
		return err
	}
	if err := errors.Join(compat.WriteFile(at, "cache", 25000), m.withdraw(ctx, v)); err != nil {
		return err
	}
	delete(m.mounted, id)
	v.Shrunk = true
	_, err = m.driver.Controller.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: &csi.CapacityRange{RequiredBytes: int64(272 * volume.MiB)}})
	return err
}

// block is a bare device that grew.
func (m *maker) block(ctx context.Context) error {
	v, err := m.create(ctx, empty("block", "", 8*volume.MiB, nil))
	if err != nil {
		return err
	}
	id := v.Row.Handle()
	at, err := m.publish(ctx, id, compat.Access(""))
	if err != nil {
		return err
	}
	_, err = m.driver.Controller.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: &csi.CapacityRange{RequiredBytes: int64(12 * volume.MiB)}})
	if err != nil {
		return err
	}
	return errors.Join(compat.WriteDevice(at, "first", 0, 40000), compat.WriteDevice(at, "middle", 5<<20, 10000), compat.WriteDevice(at, "last", 12<<20-4096, 4096))
}

// group1 is a group snapshot of a mounted volume and a block volume. Both are written afterwards.
func (m *maker) group1(ctx context.Context) error {
	database, block := m.handle("pvc-"), m.handle("block")
	return errors.Join(m.groupSnapshot(ctx, "group-1", database, block),
		compat.WriteFile(m.mounted[database], "after the group", 5000), compat.WriteDevice(m.mounted[block], "after", 6<<20, 8192))
}

func (m *maker) handle(prefix string) string {
	for _, v := range m.manifest.Volumes {
		if strings.HasPrefix(v.Row.Handle(), nodeName+"/"+poolName+"/"+prefix) {
			return v.Row.Handle()
		}
	}
	return ""
}

// copies are a restored volume that was written, and a clone that was not used yet.
func (m *maker) copies(ctx context.Context) error {
	request := empty("restored", "ext4", 48*volume.MiB, nil)
	request.VolumeContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
		Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: m.manifest.Snapshots[0].Row.Handle()}}}
	v, err := m.create(ctx, request)
	if err != nil {
		return err
	}
	at, err := m.publish(ctx, v.Row.Handle(), compat.Access("ext4"))
	if err != nil {
		return err
	}
	if err := compat.WriteFile(at, "written after it was restored", 9000); err != nil {
		return err
	}
	database := m.handle("pvc-")
	request = empty("clone", "ext4", 48*volume.MiB, nil)
	request.VolumeContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: database}}}
	clone, err := m.create(ctx, request)
	if err == nil {
		clone.Content, err = m.content(database)
	}
	return err
}

// gone is a snapshot that has outlived its volume.
func (m *maker) gone(ctx context.Context) error {
	if m.thick() {
		return nil
	}
	v, err := m.create(ctx, empty("gone", "ext4", 16*volume.MiB, nil))
	if err != nil {
		return err
	}
	id := v.Row.Handle()
	at, err := m.publish(ctx, id, compat.Access("ext4"))
	if err != nil {
		return err
	}
	if err := errors.Join(compat.WriteFile(at, "what was there", 7000), m.snapshot(ctx, "snap-gone", id), m.withdraw(ctx, v)); err != nil {
		return err
	}
	m.manifest.Volumes = m.manifest.Volumes[:len(m.manifest.Volumes)-1]
	delete(m.mounted, id)
	_, err = m.driver.Controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: id})
	return err
}

// untouched are volumes that nobody has had yet.
func (m *maker) untouched(ctx context.Context) error {
	_, err := m.create(ctx, empty("fresh", "ext4", 16*volume.MiB, nil))
	if err == nil {
		_, err = m.create(ctx, empty("a block volume with a name of blanks, and of more than 48 bytes", "", 4*volume.MiB, nil))
	}
	return err
}

// named is a volume whose name LVM refuses.
func (m *maker) named(ctx context.Context) error {
	v, err := m.create(ctx, empty("db_tdata", "ext4", 16*volume.MiB, nil))
	if err != nil {
		return err
	}
	at, err := m.publish(ctx, v.Row.Handle(), compat.Access("ext4"))
	if err != nil {
		return err
	}
	return errors.Join(compat.WriteFile(at, "file", 3000), m.snapshot(ctx, "snap_tmeta", v.Row.Handle()))
}

// inline is an ephemeral volume of a pod that is there when the machine goes down.
func (m *maker) inline(ctx context.Context) error {
	const handle = "csi-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	request := &csi.NodePublishVolumeRequest{VolumeId: handle, VolumeCapability: compat.Access("ext4"), VolumeContext: map[string]string{
		volume.ContextEphemeral: "true", "size": "16Mi", "csi.storage.k8s.io/pod.name": "web-0", "csi.storage.k8s.io/pod.namespace": "shop",
	}}
	text, err := compat.Encode(request)
	if err != nil {
		return err
	}
	at := filepath.Join(m.dir, "inline")
	request.TargetPath = at
	if _, err := m.driver.Node.NodePublishVolume(ctx, request); err != nil {
		return err
	}
	if err := compat.WriteFile(at, "scratch", 6000); err != nil {
		return err
	}
	files, err := compat.ReadFiles(at)
	id := nodeName + "/" + poolName + "/" + volume.NameFor(handle)
	m.manifest.Inline = append(m.manifest.Inline, compat.Inline{Request: text, Row: compat.Row{"handle": id}, Content: compat.Content{Files: files}})
	if err != nil {
		return err
	}
	// The kubelet would have it deleted. Unmounted and detached it is as after a reboot.
	return errors.Join(unmount(at), m.detach(ctx, id))
}

// withdrawAll takes away what is published still.
func (m *maker) withdrawAll(ctx context.Context) error {
	for i := range m.manifest.Volumes {
		v := &m.manifest.Volumes[i]
		if m.mounted[v.Row.Handle()] == "" {
			continue
		}
		if err := m.withdraw(ctx, v); err != nil {
			return err
		}
	}
	return nil
}
