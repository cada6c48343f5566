package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// remove takes away what run made, in the order in which an orchestrator does. It looks for it on the
// disk, so it also removes what a run that failed half way, or was kept, left.
func (l *life) remove(ctx context.Context) error {
	volumes, snapshots, err := l.made(ctx)
	if err != nil {
		return err
	}
	steps := []struct {
		name string
		do   func() (string, error)
	}{
		{"unmount", func() (string, error) {
			return plural(len(volumes), "volume") + " unpublished and unstaged", each(volumes, func(v volume.Volume) error { return l.unmount(ctx, v) })
		}},
		{"detach", func() (string, error) {
			return "no device of them is left", each(volumes, func(v volume.Volume) error {
				_, err := l.controller.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: v.ID.String(), NodeId: l.nodeID})
				return err
			})
		}},
		{"delete", func() (string, error) {
			err := each(snapshots, func(s volume.Snapshot) error {
				_, err := l.controller.DeleteSnapshot(ctx, &csi.DeleteSnapshotRequest{SnapshotId: s.ID.String()})
				return err
			})
			return plural(len(volumes), "volume") + " and " + plural(len(snapshots), "snapshot"), errors.Join(err, each(volumes, func(v volume.Volume) error {
				_, err := l.controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: v.ID.String()})
				return err
			}))
		}},
	}
	for _, s := range steps {
		if err := l.step(s.name, s.do); err != nil {
			return err
		}
	}
	return nil
}

// made returns the volumes and snapshots that carry the name of this life.
func (l *life) made(ctx context.Context) ([]volume.Volume, []volume.Snapshot, error) {
	p, err := l.pools.Named(l.pool)
	if err != nil {
		return nil, nil, err
	}
	volumes, err := p.List(ctx, "", 0)
	if err != nil {
		return nil, nil, err
	}
	volumes = slices.DeleteFunc(volumes, func(v volume.Volume) bool { return !l.ours(v.ID) })
	snapshotter, ok := p.(pool.Snapshotter)
	if !ok {
		return volumes, nil, nil
	}
	snapshots, err := snapshotter.ListSnapshots(ctx, "", 0)
	return volumes, slices.DeleteFunc(snapshots, func(s volume.Snapshot) bool { return !l.ours(s.ID) }), err
}

// takesSnapshots reports whether the pool can take snapshots and make copies.
func (l *life) takesSnapshots() (bool, error) {
	p, err := l.pools.Named(l.pool)
	_, ok := p.(pool.Snapshotter)
	return ok, err
}

func (l *life) ours(id volume.ID) bool {
	return id.Name == l.name || strings.HasPrefix(id.Name, l.name+"-")
}

func (l *life) unmount(ctx context.Context, v volume.Volume) error {
	made := &csi.Volume{VolumeId: v.ID.String()}
	if _, err := l.node.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: made.GetVolumeId(), TargetPath: l.target(made)}); err != nil {
		return err
	}
	if _, err := l.node.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: made.GetVolumeId(), StagingTargetPath: l.staging(made)}); err != nil {
		return err
	}
	for _, dir := range []string{l.staging(made), l.place(made)} {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// each calls do for all of them, whatever fails, and joins the errors.
func each[T any](all []T, do func(T) error) error {
	var errs []error
	for _, one := range all {
		errs = append(errs, do(one))
	}
	return errors.Join(errs...)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
