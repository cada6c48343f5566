package fault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/scratch"
)

const (
	smallBytes = 32 * volume.MiB
	grownBytes = 48 * volume.MiB
)

// operation is a call that is made while the disk fails.
type operation struct {
	name   string
	before func(context.Context, *machine) error
	do     func(context.Context, *machine) error
}

var operations = []operation{
	{name: "create", do: func(ctx context.Context, m *machine) error { return m.create(ctx, "v", smallBytes, mountAccess, nil) }},
	{name: "format", before: created, do: func(ctx context.Context, m *machine) error { return m.stage(ctx, "v") }},
	{name: "expand", before: written, do: func(ctx context.Context, m *machine) error { return m.expand(ctx, "v", grownBytes) }},
	{name: "delete", before: created, do: func(ctx context.Context, m *machine) error { return m.delete(ctx, "v") }},
	{name: "snapshot", before: written, do: func(ctx context.Context, m *machine) error { return m.snapshot(ctx, "s", "v") }},
	{name: "restore", before: snapshotted, do: func(ctx context.Context, m *machine) error {
		return m.create(ctx, "r", smallBytes, mountAccess, ofSnapshot("s"))
	}},
	{name: "clone", before: written, do: func(ctx context.Context, m *machine) error {
		return m.create(ctx, "r", smallBytes, mountAccess, ofVolume("v"))
	}},
	{name: "delete of a snapshot", before: snapshotted, do: func(ctx context.Context, m *machine) error { return m.deleteSnapshot(ctx, "s") }},
}

func created(ctx context.Context, m *machine) error {
	return m.create(ctx, "v", smallBytes, mountAccess, nil)
}

// kept is what is written and synced before a disk fails.
var kept = bytes.Repeat([]byte("kept"), 1<<18)

// written leaves a volume staged that has something in it.
func written(ctx context.Context, m *machine) error {
	m.written = true
	if err := errors.Join(created(ctx, m), m.stage(ctx, "v")); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(m.staging("v"), "kept"))
	if err != nil {
		return err
	}
	_, err = file.Write(kept)
	err = errors.Join(err, file.Sync(), file.Close())
	dir, openErr := os.Open(m.staging("v"))
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	return errors.Join(err, dir.Sync(), dir.Close())
}

func snapshotted(ctx context.Context, m *machine) error {
	return errors.Join(written(ctx, m), m.snapshot(ctx, "s", "v"))
}

// errorCounts is what became of the calls.
type errorCounts struct {
	calls, refused, spared, again, repaired, lost, leaked int
}

// TestIOErrors has the disk fail while one call is made, of each kind: it must end with an error that is clear, or
// be spared; and when the disk is well again, the same call must end well, with all there that was there before,
// and nothing else.
func TestIOErrors(t *testing.T) {
	disks := scratch.Disks(t, 1)
	ways := failures
	if os.Getenv("FULL") == "" {
		ways = ways[:1]
	}
	for _, layout := range []struct {
		name   string
		config lvm.Config
	}{{"linear", lvm.Config{}}, {"thin", lvm.Config{ThinPool: "thin"}}} {
		t.Run(layout.name, func(t *testing.T) {
			d := newDisk(t, "loamfaulty0", disks[0], volume.GiB)
			group(t, d)
			if layout.config.ThinPool != "" {
				makeThinPool(t, "512m", "16m")
			}
			m := newMachine(t, layout.config)
			var n errorCounts
			defer func() {
				t.Logf("count: I/O errors, %s: %d calls while the disk failed, %d ended with an error, %d were spared; %d sent again, %d repairs by detaching, lost %d, leaked %d",
					layout.name, n.calls, n.refused, n.spared, n.again, n.repaired, n.lost, n.leaked)
			}()
			for _, how := range ways {
				for _, o := range operations {
					m.failDuring(d, how, o, &n)
				}
			}
		})
	}
}

func makeThinPool(t *testing.T, data, metadata string, more ...string) {
	t.Helper()
	args := []string{"--yes", "--type", "thin-pool", "--size", data, "--chunksize", "64k", "--poolmetadatasize", metadata, "--name", "thin"}
	lvmCommand(t, "lvcreate", append(append(args, more...), groupName)...)
}

// failDuring makes one call while the disk fails.
func (m *machine) failDuring(d *disk, how failure, o operation, n *errorCounts) {
	m.Helper()
	ctx, cancel := context.WithTimeout(m.Context(), patience)
	defer cancel()
	what := fmt.Sprintf("%s while %s", o.name, how.name)
	free := m.status().FreeBytes
	m.written = false
	if o.before != nil {
		m.ok("before "+what, o.before(ctx, m))
	}
	n.calls++
	d.fail(how)
	started := time.Now()
	err := o.do(ctx, m)
	took := time.Since(started)
	d.heal()
	if err == nil {
		n.spared++
	} else {
		n.refused++
		m.Logf("%s ended after %s with %v", what, took.Round(time.Millisecond), err)
		if message := status.Convert(err).Message(); !isClear(err) {
			m.Errorf("%s ended with an error that does not say enough (%s): %s", what, status.Code(err), message)
		}
	}
	m.again(ctx, what, o, n)
	m.tidy(ctx, what, n)
	if after := m.status().FreeBytes; after != free {
		n.leaked++
		m.Errorf("%s: %s were free before, and %s are after all is deleted", what, free, after)
	}
}

// isClear reports whether an error has a code that says what to do, and names the pool or the volume.
func isClear(err error) bool {
	says := status.Convert(err)
	return slices.Contains([]codes.Code{codes.Internal, codes.Unavailable, codes.ResourceExhausted}, says.Code()) &&
		(strings.Contains(says.Message(), poolName) || strings.Contains(says.Message(), "/dev/"))
}

// again repeats the call until it ends well. Where that has a thin pool say that it is not well, the pool is repaired
// once, as docs/lvm.md says; it may say so only after a call that did not need it.
func (m *machine) again(ctx context.Context, what string, o operation, n *errorCounts) {
	m.Helper()
	repaired := false
	repair := func() {
		if !repaired && m.needsRepair() {
			m.repair(ctx)
			repaired = true
			n.repaired++
		}
	}
	for deadline := time.Now().Add(patience); ; <-time.After(100 * time.Millisecond) {
		err := o.do(ctx, m)
		if err == nil {
			repair()
			return
		}
		n.again++
		repair()
		if time.Now().After(deadline) {
			m.Fatalf("%s: the disk is well again, and the call ends with %v", what, err)
		}
	}
}

// needsRepair reports whether a thin pool says so.
func (m *machine) needsRepair() bool { return !m.status().Healthy }

// tidy looks at what was kept, on volumes that are mounted anew, and deletes everything.
func (m *machine) tidy(ctx context.Context, what string, n *errorCounts) {
	m.Helper()
	volumes, err := m.pool.List(ctx, "", 0)
	m.ok("list", err)
	for _, v := range volumes {
		m.ok(what+": unstage "+v.ID.Name, m.unstage(ctx, v.ID.Name))
		if err := m.keeps(ctx, v.ID.Name); err != nil {
			n.lost++
			m.Errorf("%s: volume %s: %v", what, v.ID.Name, err)
		}
	}
	m.ok(what+": delete the snapshot", m.deleteSnapshot(ctx, "s"))
	for _, v := range volumes {
		m.ok(what+": delete "+v.ID.Name, m.delete(ctx, v.ID.Name))
	}
	if left := m.left(); len(left) > 0 {
		n.leaked += len(left)
		m.Errorf("%s: left are %q", what, left)
	}
}

// keeps stages a volume and reads what is in it. One that was only formatted has nothing.
func (m *machine) keeps(ctx context.Context, name string) error {
	if err := m.stage(ctx, name); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(m.staging(name), "kept"))
	if errors.Is(err, os.ErrNotExist) && !m.written {
		err, text = nil, kept
	}
	if err == nil && !bytes.Equal(text, kept) {
		err = fmt.Errorf("what was synced is not there: %d bytes that differ", len(text))
	}
	return errors.Join(err, m.unstage(ctx, name), os.Remove(m.staging(name)))
}
