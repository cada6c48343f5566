package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// How many volumes are staged and unstaged, and how many of them at once: a node that comes back has all of its own to stage in
// one moment.
const (
	stagedVolumes = 300
	stagedAtOnce  = 100
	stagedBytes   = 16 * volume.MiB
)

// manyStages compares the staging and unstaging of many new volumes at once with the commands that do the same, and counts
// the calls that fail: a retry costs a pod seconds.
func manyStages(b *bench) (rows []row, err error) {
	name := func(i int) string { return fmt.Sprintf("staged-%03d", i) }
	handle := func(i int) string { return nodeName + "/" + poolName + "/" + name(i) }
	staging := func(i int) string { return filepath.Join(b.dir, name(i)) }
	access := mountAccess(volume.Ext4)
	defer func() {
		for i := range stagedVolumes {
			err = errors.Join(err, b.delete(handle(i)), os.RemoveAll(staging(i)))
		}
		err = errors.Join(err, b.clearBare())
	}()
	for i := range stagedVolumes {
		if _, err := b.create(name(i), stagedBytes, access, nil); err != nil {
			return nil, err
		}
		if err := errors.Join(os.Mkdir(staging(i), 0o700), bareFile(filepath.Join(b.bare, name(i)), int64(stagedBytes))); err != nil {
			return nil, err
		}
	}
	devices := make([]string, stagedVolumes)
	bareStage := func(i int) (err error) {
		if devices[i], err = command("losetup", "--find", "--show", "--direct-io=on", filepath.Join(b.bare, name(i))); err != nil {
			return err
		}
		if _, err := command("mkfs.ext4", "-q", "-E", "nodiscard", devices[i]); err != nil {
			return err
		}
		_, err = command("mount", devices[i], staging(i))
		return err
	}
	bareUnstage := func(i int) error {
		_, unmounted := command("umount", staging(i))
		_, detached := command("losetup", "--detach", devices[i])
		return errors.Join(unmounted, detached)
	}
	ours, oursFailed := atOnce(func(i int) error {
		_, err := b.node.NodeStageVolume(b, &csi.NodeStageVolumeRequest{VolumeId: handle(i), StagingTargetPath: staging(i), VolumeCapability: access})
		return err
	})
	back, backFailed := atOnce(func(i int) error {
		_, err := b.node.NodeUnstageVolume(b, &csi.NodeUnstageVolumeRequest{VolumeId: handle(i), StagingTargetPath: staging(i)})
		return err
	})
	bare, bareFailed := atOnce(bareStage)
	bareBack, bareBackFailed := atOnce(bareUnstage)
	if failed := slices.Concat(bareFailed, bareBackFailed); len(failed) > 0 {
		return nil, fmt.Errorf("the bare commands: %w", errors.Join(failed...))
	}
	return []row{
		ratio(fmt.Sprintf("%d stages, %d at once, with ext4 / the bare commands", stagedVolumes, stagedAtOnce), 2, ours, bare),
		ratio(fmt.Sprintf("%d unstages, %d at once / the bare commands", stagedVolumes, stagedAtOnce), 4, back, bareBack),
		failures("stages and unstages that failed", slices.Concat(oursFailed, backFailed)),
	}, nil
}

// atOnce calls do for each of the volumes, so many at a time, and returns in what time and what failed.
func atOnce(do func(int) error) (took time.Duration, failed []error) {
	var mu sync.Mutex
	var workers sync.WaitGroup
	next, start := 0, time.Now()
	for range stagedAtOnce {
		workers.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= stagedVolumes {
					return
				}
				if err := do(i); err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	workers.Wait()
	return time.Since(start), failed
}

func failures(what string, failed []error) row {
	r := row{what: what, figure: fmt.Sprint(len(failed)), bound: "0", met: len(failed) == 0}
	if len(failed) > 0 {
		r.note = "the first: " + failed[0].Error()
	}
	return r
}
