package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/sanity/compat"
	"github.com/loam-storage/loam/sanity/scratch"
)

// maker makes one pool.
type maker struct {
	pool
	dir      string // everything is below it
	driver   compat.Driver
	manifest compat.Manifest

	mounted map[string]string // handles of what is published, and where
}

// packed is what the archive is of.
func (m *maker) packed() string { return filepath.Join(m.dir, "packed") }

// config returns the configuration as it is while the pool is made.
func (m *maker) config() string { return m.manifest.ConfigIn(m.packed(), guestDisk) }

// make makes the pool with all that is in it, and writes its manifest.
func (m *maker) make(ctx context.Context, archive string) (err error) {
	m.mounted = map[string]string{}
	m.driver.Dir = filepath.Join(m.dir, "driver")
	bin := filepath.Join(m.dir, "bin")
	m.driver.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH") + ":/usr/sbin:/sbin"}
	if err := errors.Join(os.MkdirAll(m.packed(), 0o755), os.MkdirAll(m.driver.Dir, 0o755), os.MkdirAll(bin, 0o755)); err != nil {
		return err
	}
	end, err := m.place()
	if err != nil {
		return err
	}
	if err := m.driver.Start(ctx, m.config()); err != nil {
		return errors.Join(err, end())
	}
	err = m.fill(ctx, bin)
	if err == nil {
		err = m.record()
	}
	if m.driver.Running() {
		err = errors.Join(err, m.driver.Stop())
	}
	if err = errors.Join(err, end()); err != nil {
		return err
	}
	return m.manifest.Write(archive + ".json")
}

// place makes what the pool is in, and returns what takes it away when the pool is made.
func (m *maker) place() (end func() error, err error) {
	switch {
	case m.group != "":
		m.manifest.Group, m.manifest.Disk = m.group, "disk0"
		if _, err = scratch.VolumeGroup(m.group, guestDisk); err == nil && m.thin {
			_, err = scratch.LVM("lvcreate", "--yes", "--type", "thin-pool", "--size", "1500m", "--chunksize", "64k", "--poolmetadatasize", "16m", "--name", "tp", m.group)
		}
		return func() error {
			_, err := scratch.LVM("vgchange", "--activate", "n", m.group)
			return err
		}, err
	case m.fsType != "":
		m.manifest.Mount = "filesystem"
		image, mountPoint := filepath.Join(m.packed(), "filesystem"), filepath.Join(m.packed(), "mnt")
		err := errors.Join(
			os.Mkdir(mountPoint, 0o700), scratch.Run("truncate", "--size", m.disk, image),
			scratch.Run("mkfs."+m.fsType, "-q", image), scratch.Run("mount", "-o", "loop", image, mountPoint))
		return func() error { return scratch.Run("umount", mountPoint) }, err
	default:
		return func() error { return nil }, nil
	}
}

// create has a volume made and keeps the request.
func (m *maker) create(ctx context.Context, request *csi.CreateVolumeRequest) (*compat.Volume, error) {
	answer, err := m.driver.Controller.CreateVolume(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("create %q: %w", request.GetName(), err)
	}
	text, err := compat.Encode(request)
	m.manifest.Volumes = append(m.manifest.Volumes, compat.Volume{Request: text, Row: compat.Row{"handle": answer.GetVolume().GetVolumeId()}})
	return &m.manifest.Volumes[len(m.manifest.Volumes)-1], err
}

// publish publishes a volume and returns where.
func (m *maker) publish(ctx context.Context, id string, c *csi.VolumeCapability) (string, error) {
	at, ok := m.mounted[id]
	if !ok {
		at = filepath.Join(m.dir, fmt.Sprintf("target-%d", len(m.mounted)))
		m.mounted[id] = at
	}
	return at, m.driver.Publish(ctx, id, c, at)
}

// snapshot takes a snapshot of a volume, whose content is what it is now.
func (m *maker) snapshot(ctx context.Context, name, of string) error {
	request := &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: of}
	answer, err := m.driver.Controller.CreateSnapshot(ctx, request)
	if err != nil {
		return fmt.Errorf("snapshot %q: %w", name, err)
	}
	text, err := compat.Encode(request)
	if err != nil {
		return err
	}
	content, err := m.content(of)
	m.manifest.Snapshots = append(m.manifest.Snapshots, compat.Snapshot{Request: text, Row: compat.Row{"handle": answer.GetSnapshot().GetSnapshotId()}, Content: content})
	return err
}

// groupSnapshot takes snapshots of volumes at one instant.
func (m *maker) groupSnapshot(ctx context.Context, name string, of ...string) error {
	request := &csi.CreateVolumeGroupSnapshotRequest{Name: name, SourceVolumeIds: of}
	answer, err := m.driver.Group.CreateVolumeGroupSnapshot(ctx, request)
	if err != nil {
		return fmt.Errorf("group snapshot %q: %w", name, err)
	}
	g := compat.Group{Handle: answer.GetGroupSnapshot().GetGroupSnapshotId()}
	if g.Request, err = compat.Encode(request); err != nil {
		return err
	}
	for _, s := range answer.GetGroupSnapshot().GetSnapshots() {
		content, err := m.content(s.GetSourceVolumeId())
		if err != nil {
			return err
		}
		g.Members = append(g.Members, compat.Snapshot{Row: compat.Row{"handle": s.GetSnapshotId()}, Content: content})
	}
	m.manifest.Groups = append(m.manifest.Groups, g)
	return nil
}

// content reads what is in a published volume.
func (m *maker) content(id string) (c compat.Content, err error) {
	at := m.mounted[id]
	if info, err := os.Stat(at); err == nil && info.IsDir() {
		c.Files, err = compat.ReadFiles(at)
		return c, err
	}
	c.Device, err = compat.Sum(at)
	return c, err
}

// withdraw reads what is in a published volume and takes it away.
func (m *maker) withdraw(ctx context.Context, v *compat.Volume) (err error) {
	id := v.Row.Handle()
	if v.Content, err = m.content(id); err != nil {
		return err
	}
	return m.driver.Unpublish(ctx, id, m.mounted[id])
}

// record adds to the manifest what the release says of all that there is.
func (m *maker) record() error {
	volumes, err := m.driver.Rows("volumes")
	if err != nil {
		return err
	}
	snapshots, err := m.driver.Rows("snapshots")
	if err != nil {
		return err
	}
	known := 0
	find := func(rows []compat.Row, row *compat.Row) {
		if i := slices.IndexFunc(rows, func(r compat.Row) bool { return r.Handle() == row.Handle() }); i >= 0 {
			*row = rows[i]
			known++
		}
	}
	for i := range m.manifest.Volumes {
		find(volumes, &m.manifest.Volumes[i].Row)
	}
	for i := range m.manifest.Inline {
		find(volumes, &m.manifest.Inline[i].Row)
	}
	for i := range m.manifest.Snapshots {
		find(snapshots, &m.manifest.Snapshots[i].Row)
	}
	for i := range m.manifest.Groups {
		for j := range m.manifest.Groups[i].Members {
			find(snapshots, &m.manifest.Groups[i].Members[j].Row)
		}
	}
	if known != len(volumes)+len(snapshots) {
		return fmt.Errorf("%d of %d volumes and %d snapshots are in the manifest", known, len(volumes), len(snapshots))
	}
	return nil
}

// detach takes away the device of a volume that is mounted nowhere.
func (m *maker) detach(ctx context.Context, id string) error {
	_, err := m.driver.Controller.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: nodeName})
	return err
}

func unmount(path string) error { return errors.Join(scratch.Run("umount", path), os.RemoveAll(path)) }
