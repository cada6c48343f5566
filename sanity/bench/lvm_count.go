package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// counted is a call, and how many lvm processes it may start. Those without a bound come in between.
type counted struct {
	what  string
	bound int
	do    func() error
}

const noBound = -1

// counts prints how many lvm processes each call starts when nothing is in its way.
func (b *lvmBench) counts() (rows []row, err error) {
	access := mountAccess(volume.Ext4)
	handle, staging, target := handleOf("count"), filepath.Join(b.dir, "staging"), filepath.Join(b.dir, "target")
	attach := func() error {
		_, err := b.controller.ControllerPublishVolume(b, &csi.ControllerPublishVolumeRequest{VolumeId: handle, NodeId: nodeName, VolumeCapability: access})
		return err
	}
	stage := func() error {
		_, err := b.node.NodeStageVolume(b, &csi.NodeStageVolumeRequest{VolumeId: handle, StagingTargetPath: staging, VolumeCapability: access})
		return err
	}
	unstage := func() error {
		_, err := b.node.NodeUnstageVolume(b, &csi.NodeUnstageVolumeRequest{VolumeId: handle, StagingTargetPath: staging})
		return err
	}
	expand := func(to volume.Size) error {
		_, err := b.controller.ControllerExpandVolume(b, &csi.ControllerExpandVolumeRequest{VolumeId: handle, CapacityRange: &csi.CapacityRange{RequiredBytes: int64(to)}, VolumeCapability: access})
		return err
	}
	if err := os.Mkdir(staging, 0o700); err != nil {
		return nil, err
	}
	calls := []counted{
		{"CreateVolume", 1, func() error { _, err := b.create("count", lvmBytes, access, nil); return err }},
		{"ControllerPublishVolume, the first time", noBound, attach},
		{"NodeStageVolume, which makes the file system", noBound, stage},
		{"NodeUnstageVolume", noBound, unstage},
		{"ControllerPublishVolume", 1, attach},
		{"NodeStageVolume", 0, stage},
		{"NodePublishVolume", 0, func() error {
			_, err := b.node.NodePublishVolume(b, &csi.NodePublishVolumeRequest{VolumeId: handle, StagingTargetPath: staging, TargetPath: target, VolumeCapability: access})
			return err
		}},
		{"NodeGetVolumeStats", 0, func() error {
			_, err := b.node.NodeGetVolumeStats(b, &csi.NodeGetVolumeStatsRequest{VolumeId: handle, VolumePath: target})
			return err
		}},
		{"NodeUnpublishVolume", noBound, func() error {
			_, err := b.node.NodeUnpublishVolume(b, &csi.NodeUnpublishVolumeRequest{VolumeId: handle, TargetPath: target})
			return err
		}},
		{"NodeUnstageVolume", noBound, unstage},
		{"ControllerPublishVolume", 1, attach},
		{"CreateSnapshot", 1, func() error { return b.snapshotOf("count", "s") }},
		{"DeleteSnapshot", 1, func() error { return b.deleteSnapshot("s") }},
		{"ControllerExpandVolume, while attached", 1, func() error { return expand(2 * lvmBytes) }},
		{"ControllerUnpublishVolume", 1, func() error { return b.detach(handle) }},
		{"ControllerExpandVolume", 1, func() error { return expand(3 * lvmBytes) }},
		{"CreateSnapshot, the first since it grew detached", noBound, func() error { return b.snapshotOf("count", "s") }},
		{"DeleteSnapshot", 1, func() error { return b.deleteSnapshot("s") }},
		{"DeleteVolume", 1, func() error { return b.delete(handle) }},
	}
	for _, c := range calls {
		commands, err := b.runner.during(c.do)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.what, err)
		}
		rows = append(rows, b.countOf(c, commands))
	}
	return rows, os.Remove(staging)
}

func (b *lvmBench) countOf(c counted, commands []string) row {
	r := row{what: "lvm processes, " + b.layout.name + ": " + c.what, figure: fmt.Sprintf("%d %s", len(commands), strings.Join(commands, " ")), bound: "-", met: true}
	if c.bound != noBound {
		r.bound, r.met = fmt.Sprint(c.bound), len(commands) <= c.bound
	}
	return r
}

// shares counts the reports of callers that ask at the same moment.
func (b *lvmBench) shares() ([]row, error) {
	one := func(what string, do func() error) (row, error) {
		commands, err := b.runner.during(do)
		return row{what: "lvm processes, " + b.layout.name + ": " + what, figure: fmt.Sprint(len(commands)), bound: "<= 1", met: len(commands) <= 1}, err
	}
	list := func() error { _, err := b.controller.ListVolumes(b, &csi.ListVolumesRequest{}); return err }
	capacity := func() error {
		_, err := b.controller.GetCapacity(b, &csi.GetCapacityRequest{Parameters: map[string]string{volume.KeyPool: poolName}})
		return err
	}
	listed, err := one("ListVolumes", list)
	if err != nil {
		return nil, err
	}
	measured, err := one("GetCapacity", capacity)
	if err != nil {
		return nil, err
	}
	const callers = 10
	commands, err := b.runner.during(func() error {
		var all sync.WaitGroup
		var mu sync.Mutex
		var errs []error
		for range callers {
			for _, do := range []func() error{list, capacity} {
				all.Go(func() {
					err := do()
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, err)
				})
			}
		}
		all.Wait()
		return errors.Join(errs...)
	})
	shared := row{what: fmt.Sprintf("lvm processes, %s: %d of each at once", b.layout.name, callers), figure: fmt.Sprint(len(commands)), bound: "<= 3", met: len(commands) <= 3}
	return []row{listed, measured, shared}, err
}

// snapshotOf takes a snapshot of a volume by its name.
func (b *lvmBench) snapshotOf(of, name string) error {
	_, err := b.controller.CreateSnapshot(b, &csi.CreateSnapshotRequest{SourceVolumeId: handleOf(of), Name: name})
	return err
}

func (b *lvmBench) deleteSnapshot(name string) error {
	_, err := b.controller.DeleteSnapshot(b, &csi.DeleteSnapshotRequest{SnapshotId: handleOf(name)})
	return err
}
