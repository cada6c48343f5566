package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/watchdog"
	"github.com/loam-storage/loam/driver/volume"
)

// snapshotRounds is how often a snapshot is taken: the kernel waits for all processors in a freeze, for a time that varies.
const snapshotRounds = 50

// settles is how long a file system is left alone before it is frozen: soon after a freeze the kernel need not wait for all processors
// once more, and the second of two would be faster for the first.
const settles = 200 * time.Millisecond

// Numbers that x/sys/unix lacks (linux/fs.h).
const (
	fiFreeze = 0xc0045877 // FIFREEZE, _IOWR('X', 119, int)
	fiThaw   = 0xc0045878 // FITHAW,   _IOWR('X', 120, int)
)

// snapshots takes snapshots of a volume that is mounted, beside the system calls that they cannot do without; and starts watchdogs
// beside programs that do nothing.
func snapshots(b *bench) (rows []row, err error) {
	v, mountPoint, undo, err := b.mountedVolume()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, undo()) }()
	image := filepath.Join(b.dir, "fs", "pool", "volumes", "snapshots", "image")
	snapshot, bare := volume.ID{Node: nodeName, Pool: poolName, Name: "snapshot"}, filepath.Join(b.bare, "snapshot")
	var us, them []time.Duration
	for range snapshotRounds {
		for _, one := range []struct {
			take, drop func() error
			took       *[]time.Duration
		}{
			{func() error {
				_, err := b.controller.CreateSnapshot(b, &csi.CreateSnapshotRequest{Name: snapshot.Name, SourceVolumeId: v})
				return err
			}, func() error {
				_, err := b.controller.DeleteSnapshot(b, &csi.DeleteSnapshotRequest{SnapshotId: snapshot.String()})
				return err
			}, &us},
			{func() error { return bareSnapshot(mountPoint, image, bare) }, func() error { return os.Remove(bare) }, &them},
		} {
			time.Sleep(settles)
			start := time.Now()
			err := one.take()
			*one.took = append(*one.took, time.Since(start))
			if err = errors.Join(err, one.drop()); err != nil {
				return nil, err
			}
		}
	}
	taken := ratio("snapshot of a mounted ext4 / FIFREEZE, FICLONE, FITHAW, fsync", 1.2, median(us), median(them))
	started, err := watchdogs(b)
	return []row{taken, started}, err
}

// bareSnapshot does what no snapshot of a mounted file system can do without.
func bareSnapshot(mountPoint, from, to string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close() //nolint:errcheck // only read
	f, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	dir, err := os.Open(mountPoint)
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // only read
	if err := unix.IoctlSetInt(int(dir.Fd()), fiFreeze, 0); err != nil {
		return err
	}
	err = unix.IoctlFileClone(int(f.Fd()), int(source.Fd()))
	return errors.Join(err, unix.IoctlSetInt(int(dir.Fd()), fiThaw, 0), f.Sync())
}

// mountedVolume makes a volume of 64 MiB with an ext4, and mounts that.
func (b *bench) mountedVolume() (v, mountPoint string, undo func() error, err error) {
	made, err := b.controller.CreateVolume(b, &csi.CreateVolumeRequest{Name: "snapshots", CapacityRange: &csi.CapacityRange{RequiredBytes: int64(64 * volume.MiB)}, VolumeCapabilities: []*csi.VolumeCapability{mountAccess(volume.Ext4)}})
	if err != nil {
		return "", "", nil, err
	}
	v = made.GetVolume().GetVolumeId()
	id, err := volume.ParseID(v)
	if err != nil {
		return "", "", nil, err
	}
	device, err := b.pool.Attach(b, id, false)
	if err != nil {
		return "", "", nil, err
	}
	if _, err := command("mkfs.ext4", "-q", device); err != nil {
		return "", "", nil, err
	}
	machine := host.New(host.NewRunner())
	mountPoint = filepath.Join(b.dir, "snapshots-mounted")
	if err := errors.Join(os.Mkdir(mountPoint, 0o700), machine.Mount(b, device, mountPoint, volume.Ext4, nil)); err != nil {
		return "", "", nil, err
	}
	return v, mountPoint, func() error {
		err := errors.Join(machine.Unmount(b, mountPoint), os.Remove(mountPoint), b.pool.Detach(b, id))
		_, removeErr := b.controller.DeleteVolume(b, &csi.DeleteVolumeRequest{VolumeId: v})
		return errors.Join(err, removeErr)
	}, nil
}

// watchdogs starts watchdogs of loam that have nothing to do, beside a program of Go that has nothing to do either.
func watchdogs(b *bench) (row, error) {
	loam, bare := filepath.Join(b.dir, "loam"), filepath.Join(b.dir, "bare")
	for out, source := range map[string]string{loam: "./cmd/loam", bare: "./sanity/bench/bare"} {
		build := exec.CommandContext(b, "go", "build", "-ldflags", "-s -w", "-o", out, source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if said, err := build.CombinedOutput(); err != nil {
			return row{}, fmt.Errorf("build %s: %w: %s", source, err, said)
		}
		defer os.Remove(out) //nolint:errcheck // the directory that stays tells
	}
	start := func(path string, args ...string) func(int) error {
		return func(int) error {
			c := exec.CommandContext(b, path)
			c.Args = args
			return c.Run() // its input has ended
		}
	}
	return pairs(b, "start of the freeze watchdog / of an empty program of Go", 2, start(loam, watchdog.Name, watchdog.Watch), start(bare, bare))
}
