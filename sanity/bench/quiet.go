package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// published makes a volume with ext4 and publishes it until undo is called.
func (b *bench) published(name string, size volume.Size) (target string, undo func() error, err error) {
	access := mountAccess(volume.Ext4)
	handle := nodeName + "/" + poolName + "/" + name
	staging, target := filepath.Join(b.dir, name+"-staging"), filepath.Join(b.dir, name+"-target")
	if _, err := b.create(name, size, access, nil); err != nil {
		return "", nil, err
	}
	if err := os.Mkdir(staging, 0o700); err != nil {
		return "", nil, err
	}
	_, err = b.node.NodeStageVolume(b, &csi.NodeStageVolumeRequest{VolumeId: handle, StagingTargetPath: staging, VolumeCapability: access})
	if err != nil {
		return "", nil, err
	}
	_, err = b.node.NodePublishVolume(b, &csi.NodePublishVolumeRequest{VolumeId: handle, StagingTargetPath: staging, TargetPath: target, VolumeCapability: access})
	if err != nil {
		return "", nil, err
	}
	return target, func() error {
		_, unpublished := b.node.NodeUnpublishVolume(b, &csi.NodeUnpublishVolumeRequest{VolumeId: handle, TargetPath: target})
		_, unstaged := b.node.NodeUnstageVolume(b, &csi.NodeUnstageVolumeRequest{VolumeId: handle, StagingTargetPath: staging})
		return errors.Join(unpublished, unstaged, os.Remove(staging), b.delete(handle))
	}, nil
}

// stats shows that NodeGetVolumeStats starts no process.
func stats(b *bench) (rows []row, err error) {
	target, undo, err := b.published("stats", lifeBytes)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, undo()) }()
	const calls = 200
	before, err := faultsOfChildren()
	if err != nil {
		return nil, err
	}
	took := make([]time.Duration, calls)
	for i := range took {
		start := time.Now()
		answer, err := b.node.NodeGetVolumeStats(b, &csi.NodeGetVolumeStatsRequest{VolumeId: nodeName + "/" + poolName + "/stats", VolumePath: target})
		if err != nil {
			return nil, err
		}
		if len(answer.GetUsage()) != 2 {
			return nil, fmt.Errorf("NodeGetVolumeStats answered %v", answer)
		}
		took[i] = time.Since(start)
	}
	after, err := faultsOfChildren()
	return []row{{
		what: fmt.Sprintf("NodeGetVolumeStats: processes in %d calls", calls), bound: "0", met: after == before,
		figure: processes(before, after) + " (" + round(median(took)).String() + " a call)",
	}}, err
}

// idle shows that a driver that nobody calls does nothing.
func idle(b *bench) ([]row, error) {
	const length = 5 * time.Second
	before, err := faultsOfChildren()
	if err != nil {
		return nil, err
	}
	var from, to syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &from); err != nil {
		return nil, err
	}
	select {
	case <-time.After(length):
	case <-b.Done():
		return nil, b.Err()
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &to); err != nil {
		return nil, err
	}
	after, err := faultsOfChildren()
	busy := time.Duration(to.Utime.Nano() + to.Stime.Nano() - from.Utime.Nano() - from.Stime.Nano())
	most := length / 1000
	return []row{{
		what: "idle for " + length.String() + ": processes, processor time", bound: "0, " + most.String(), met: before == after && busy <= most,
		figure: processes(before, after) + ", " + busy.String(),
	}}, err
}

// faultsOfChildren returns how many page faults the processes had that this one started and waited
// for. Each has some, so the same figure twice means that there was none in between.
func faultsOfChildren() (int64, error) {
	var use syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &use)
	return use.Minflt, err
}

func processes(before, after int64) string {
	if before == after {
		return "0"
	}
	return "some"
}
