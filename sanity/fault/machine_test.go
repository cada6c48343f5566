package fault_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/scratch"
	"github.com/loam-storage/loam/sanity/serve"
)

const (
	groupName = "loamfault"
	nodeName  = "n1"
	poolName  = "fast"

	// patience is for what ends at last, however slow the machine is.
	patience = 4 * time.Minute
)

// machine is a volume group on disks that can fail, and the driver over a pool in it.
type machine struct {
	*testing.T
	*serve.Driver
	dir     string
	pool    pool.Pool
	written bool // the volume has what written wrote
}

// group makes a volume group of disks until the test ends.
func group(t *testing.T, disks ...*disk) {
	t.Helper()
	var paths []string
	for _, d := range disks {
		paths = append(paths, d.path())
	}
	if _, err := scratch.VolumeGroup(groupName, paths...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := scratch.RemoveVolumeGroup(groupName, paths...); err != nil {
			t.Error(err)
		}
	})
	for _, d := range disks {
		d.data = firstOfData(t, d.path())
	}
}

func firstOfData(t *testing.T, path string) (sector int64) {
	t.Helper()
	text := lvmCommand(t, "pvs", "--noheadings", "--nosuffix", "--units", "s", "-o", "pe_start", path)
	if _, err := fmt.Sscan(text, &sector); err != nil {
		t.Fatalf("pe_start of %s is %q: %v", path, text, err)
	}
	return sector
}

func lvmCommand(t *testing.T, command string, args ...string) string {
	t.Helper()
	out, err := scratch.LVM(command, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// newMachine opens the pool and starts the driver, both until the test ends.
func newMachine(t *testing.T, config lvm.Config) *machine {
	t.Helper()
	m := &machine{T: t, dir: t.TempDir()}
	config.VolumeGroup = groupName
	runner := host.NewRunner()
	h := host.New(runner)
	p, err := lvm.Open(t.Context(), poolName, nodeName, config, h, runner)
	if err != nil {
		t.Fatal(err)
	}
	set, err := pool.NewSet(nodeName, p)
	if err == nil {
		m.Driver, err = serve.Start(t.Context(), serve.Config{Socket: filepath.Join(m.dir, "csi.sock"), Pools: set, Machine: h})
	}
	if err != nil {
		t.Fatal(errors.Join(err, p.Close()))
	}
	m.pool = p
	t.Cleanup(func() {
		if err := errors.Join(m.Stop(), p.Close()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			_ = scratch.Sweep(m.dir) // the test has failed already
		}
	})
	return m
}

func (m *machine) status() volume.PoolStatus {
	m.Helper()
	s, err := m.pool.Status(m.Context())
	if err != nil {
		m.Fatal(err)
	}
	return s
}

func (m *machine) ok(what string, err error) {
	m.Helper()
	if err != nil {
		m.Fatalf("%s: %v", what, err)
	}
}

func handle(name string) string {
	return volume.ID{Node: nodeName, Pool: poolName, Name: name}.String()
}

func (m *machine) staging(name string) string { return filepath.Join(m.dir, name) }

var blockAccess = &csi.VolumeCapability{
	AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
	AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
}

var mountAccess = &csi.VolumeCapability{
	AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
	AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: string(volume.Ext4)}},
}

func (m *machine) create(ctx context.Context, name string, size volume.Size, access *csi.VolumeCapability, source *csi.VolumeContentSource) error {
	_, err := m.Controller.CreateVolume(ctx, &csi.CreateVolumeRequest{
		Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: int64(size)}, VolumeCapabilities: []*csi.VolumeCapability{access}, VolumeContentSource: source,
	})
	return err
}

func (m *machine) delete(ctx context.Context, name string) error {
	_, err := m.Controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: handle(name)})
	return err
}

func (m *machine) expand(ctx context.Context, name string, size volume.Size) error {
	_, err := m.Controller.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{
		VolumeId: handle(name), CapacityRange: &csi.CapacityRange{RequiredBytes: int64(size)}, VolumeCapability: mountAccess,
	})
	return err
}

// stage attaches a volume, makes a file system on it if it is new, and mounts it.
func (m *machine) stage(ctx context.Context, name string) error {
	if err := os.MkdirAll(m.staging(name), 0o700); err != nil {
		return err
	}
	_, err := m.Node.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{VolumeId: handle(name), StagingTargetPath: m.staging(name), VolumeCapability: mountAccess})
	return err
}

func (m *machine) unstage(ctx context.Context, name string) error {
	_, err := m.Node.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: handle(name), StagingTargetPath: m.staging(name)})
	return err
}

// attach attaches a block volume and returns its device.
func (m *machine) attach(ctx context.Context, name string) (string, error) {
	_, err := m.Controller.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{VolumeId: handle(name), NodeId: nodeName, VolumeCapability: blockAccess})
	if err != nil {
		return "", err
	}
	v, err := m.pool.Get(ctx, volume.ID{Node: nodeName, Pool: poolName, Name: name})
	return v.Device, err
}

func (m *machine) detach(ctx context.Context, name string) error {
	_, err := m.Controller.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: handle(name), NodeId: nodeName})
	return err
}

func (m *machine) snapshot(ctx context.Context, name, of string) error {
	_, err := m.Controller.CreateSnapshot(ctx, &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: handle(of)})
	return err
}

func (m *machine) deleteSnapshot(ctx context.Context, name string) error {
	_, err := m.Controller.DeleteSnapshot(ctx, &csi.DeleteSnapshotRequest{SnapshotId: handle(name)})
	return err
}

func ofSnapshot(name string) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: handle(name)}}}
}

func ofVolume(name string) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: handle(name)}}}
}

// left returns the logical volumes of the driver that there are, and those that are active.
func (m *machine) left() (left []string) {
	m.Helper()
	for line := range strings.Lines(lvmCommand(m.T, "lvs", "--noheadings", "-o", "lv_name", groupName)) {
		if name := strings.TrimSpace(line); strings.HasPrefix(name, "loam.") {
			left = append(left, name)
		}
	}
	names, err := filepath.Glob("/sys/block/dm-*/dm/name")
	m.ok("list the mapped devices", err)
	for _, file := range names {
		name, err := os.ReadFile(file)
		if err == nil && strings.HasPrefix(string(name), groupName+"-loam.") { // an error: it went meanwhile
			left = append(left, "active "+strings.TrimSpace(string(name)))
		}
	}
	return left
}
