package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// life takes one volume through everything that the driver can do, as any CSI client would: over the
// socket. What it says of devices and file systems it reads from the machine and not from answers.
type life struct {
	controller csi.ControllerClient
	node       csi.NodeClient
	pools      *pool.Set
	machine    host.Machine
	out        io.Writer

	pool       string // pool to make the volume in
	nodeID     string
	fsType     volume.FSType
	size       volume.Size
	name       string // of the volume; copies and the snapshot are named after it
	dir        string // staging and target paths are made in here
	capability *csi.VolumeCapability
}

// step does one thing, says what happened on the machine and how long it took.
func (l *life) step(name string, do func() (string, error)) error {
	start := time.Now()
	happened, err := do()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	say(l.out, "  %-9s %9.1f ms  %s", name, float64(time.Since(start).Microseconds())/1000, happened)
	return nil
}

// run is the whole life but its end, which is remove's. It ends between two steps when ctx does, so
// that no call is at work any more when remove begins.
func (l *life) run(until context.Context) error {
	ctx := context.WithoutCancel(until)
	var origin, restored, cloned *csi.Volume
	var snapshot *csi.Snapshot
	var before, after string
	steps := []struct {
		name string
		do   func() (string, error)
	}{
		{"create", func() (happened string, err error) {
			origin, happened, err = l.create(ctx, l.name, nil)
			return happened, err
		}},
		{"attach", func() (string, error) { return l.attach(ctx, origin) }},
		{"format", func() (string, error) { return l.stage(ctx, origin) }},
		{"mount", func() (string, error) { return l.publish(ctx, origin) }},
		{"write", func() (happened string, err error) {
			before, err = l.write(origin)
			return fmt.Sprintf("%s written and synced, sha256 %.12s", volume.Size(writtenBytes), before), err
		}},
		{"expand", func() (string, error) { return l.expand(ctx, origin) }},
		{"snapshot", func() (happened string, err error) {
			snapshot, happened, err = l.snapshot(ctx, origin)
			return happened, err
		}},
		{"overwrite", func() (happened string, err error) {
			after, err = l.write(origin)
			return fmt.Sprintf("%s written over it, sha256 %.12s", volume.Size(writtenBytes), after), err
		}},
		{"restore", func() (happened string, err error) {
			restored, happened, err = l.create(ctx, l.name+"-restored", fromSnapshot(snapshot))
			return happened, err
		}},
		{"compare", func() (string, error) { return l.compare(ctx, restored, before) }},
		{"clone", func() (happened string, err error) {
			cloned, happened, err = l.create(ctx, l.name+"-cloned", fromVolume(origin))
			return happened, err
		}},
		{"compare", func() (string, error) { return l.compare(ctx, cloned, after) }},
	}
	takesSnapshots, err := l.takesSnapshots()
	if err != nil {
		return err
	}
	for _, s := range steps {
		if err := until.Err(); err != nil {
			return fmt.Errorf("before %s: %w", s.name, err)
		}
		if s.name == "snapshot" && !takesSnapshots {
			say(l.out, "  pool %q takes no snapshots and makes no copies, so that is left out", l.pool)
			return nil
		}
		if err := l.step(s.name, s.do); err != nil {
			return err
		}
	}
	return nil
}

func (l *life) staging(v *csi.Volume) string { return filepath.Join(l.place(v), "staging") }

func (l *life) target(v *csi.Volume) string { return filepath.Join(l.place(v), "target") }

// place is the directory for the mounts of one volume. The name of the life is in that of l.dir.
func (l *life) place(v *csi.Volume) string {
	of := strings.TrimPrefix(filepath.Base(v.GetVolumeId()), l.name)
	return filepath.Join(l.dir, "volume"+of)
}
