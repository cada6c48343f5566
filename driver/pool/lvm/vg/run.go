package vg

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// How long an lvm command may take until it gets SIGKILL. One that hangs in the kernel or waits for
// udev ignores SIGTERM. Removing may discard a whole disk first, and what activates a thin pool checks its metadata.
const (
	commandTimeout = 2 * time.Minute
	longTimeout    = 15 * time.Minute
)

// discard has LVM discard what it removes, where the disks can.
const discard = "devices/issue_discards=1"

// Change runs one command of LVM, with only the group's own disks to scan once they are known. What it changed
// is on the disks when it returns, for LVM does not make them flush their caches.
//
// A command that changes what is in a thin pool is begun only where LVM and the kernel agree about the pool (thinpool.go).
func (v *Group) Change(ctx context.Context, c Command) error {
	if v.thin == nil || !c.changes() {
		return v.ChangeOutside(ctx, c)
	}
	if err := v.thin.agree(ctx, c.Name); err != nil {
		return err
	}
	if c.Name == "lvcreate" {
		return v.thin.create(ctx, c)
	}
	return v.ChangeOutside(ctx, c)
}

// ChangeOutside is Change for what is not in the thin pool: that itself, or the group.
func (v *Group) ChangeOutside(ctx context.Context, c Command) error {
	_, err := v.output(ctx, c)
	return err
}

// output runs a command, and returns what it prints. Where it fails and the group has got other disks
// meanwhile, it is tried again with those. A command that changes the group is not begun while one of its disks is missing.
func (v *Group) output(ctx context.Context, c Command) ([]byte, error) {
	if c.Name == "lvremove" && (c.Select == nil || !c.Select.tagged()) {
		return nil, volume.Errorf(volume.Internal, "pool %q: %s relies on no tag", v.of.Pool, c.Name)
	}
	if v.thin != nil {
		v.thin.Revive(ctx)
	}
	if c.changes() {
		if err := v.whole(ctx, c.takes()); err != nil {
			return nil, err
		}
	}
	disks := v.scanned()
	run := func() ([]byte, error) {
		out, err := v.run(ctx, c.Settings, disks, append([]string{c.Name}, c.args(v.of.Name)...))
		if IsExit(err) {
			err = refused{err, c.lv()}
		}
		return out, err
	}
	out, err := run()
	if IsExit(err) {
		if _, lookErr := v.Report(ctx); lookErr == nil && !slices.Equal(disks, v.scanned()) {
			disks = v.scanned()
			out, err = run()
		}
	}
	if err != nil && v.mendFailed(ctx) && c.activates() { // LVM itself leaves parts active of what it has moved
		out, err = run()
	}
	if err != nil {
		return out, err
	}
	return out, v.flush(disks)
}

func (v *Group) run(ctx context.Context, further string, disks, args []string) ([]byte, error) {
	if args[0] != "fullreport" { // which makes no device
		if err := v.of.Machine.HoldBoundMapped(); err != nil {
			return nil, err
		}
	}
	timeout := commandTimeout
	if args[0] == "lvremove" {
		timeout = longTimeout
	}
	if v.thin != nil {
		further = checkThin + " " + further
		if _, active, err := v.thin.Usage(); err == nil && !active {
			timeout = longTimeout
		}
	}
	all := []string{args[0], "--config", settings(v.of.Name, further)}
	if len(disks) == 0 {
		var err error
		if disks, err = v.findGroup(ctx); err != nil {
			return nil, err
		}
	}
	all = append(all, devicesArgs(disks)...)
	out, err := v.of.Runner.Run(ctx, host.Command{Name: "lvm", Args: append(all, args[1:]...), Timeout: timeout})
	if err != nil && !IsExit(err) {
		err = v.lockedOut(ctx, err)
	}
	return out, err
}

func (v *Group) flush(disks []string) error {
	for _, d := range disks {
		if err := v.Disks.Flush(d); err != nil {
			return volume.Errorf(volume.Internal, "pool %q: %w", v.of.Pool, err)
		}
	}
	return nil
}

// Report has LVM report the volume group.
func (v *Group) Report(ctx context.Context) (*Report, error) {
	return v.reports.get(ctx, v.of.Pool, v.report)
}

// report reads the volume group from the disks that it had, and where that is not all of it any more, from those
// that are found to be its now.
func (v *Group) report(ctx context.Context) (*Report, error) {
	disks := v.scanned()
	g, err := v.reportFrom(ctx, disks)
	if len(disks) > 0 && (err != nil || g.Missing > 0 || v.isAnother(g.ID)) {
		g, err = v.reportFrom(ctx, nil)
	}
	if expected := v.expected.Load(); err == nil && expected != nil {
		err = expected.check(&g.Layout)
	}
	if err != nil {
		return nil, err
	}
	v.remember(&g.Layout)
	if v.of.Reported != nil {
		v.of.Reported(g)
	}
	return g, nil
}

func (v *Group) reportFrom(ctx context.Context, disks []string) (*Report, error) {
	out, err := v.run(ctx, "", disks, reportArgs(v.of.Name))
	if err != nil {
		return nil, v.unreadable(err)
	}
	g, err := ParseReport(out)
	if err != nil {
		return nil, volume.Errorf(volume.Internal, "pool %q: %w", v.of.Pool, err)
	}
	return g, nil
}

// refused is a command that LVM ended with an error, and the logical volume that it was for; empty where it was for none.
type refused struct {
	error
	lv string
}

func (r refused) Unwrap() error { return r.error }

// Refused returns the logical volume that a command was for that LVM ended with an error, empty where it was for none.
func Refused(err error) string {
	var of refused
	_ = errors.As(err, &of)
	return of.lv
}

// unreadable is the error of a command that was to say what is in the group.
func (v *Group) unreadable(err error) error {
	if !IsExit(err) {
		return err // not started, or killed: it has a Kind
	}
	return volume.Errorf(volume.Unavailable, "pool %q: volume group %q cannot be read: see that it is there, with all its disks, and not renamed (%w)", v.of.Pool, v.of.Name, err)
}

// IsExit reports whether a command ran and ended with an error, rather than not at all.
func IsExit(err error) bool {
	var exit *host.ExitError
	return errors.As(err, &exit)
}

// remember keeps which disks the group has, so that LVM need not look at others. They are looked for again where they do not do.
func (v *Group) remember(g *Layout) {
	v.seen.Lock()
	defer v.seen.Unlock()
	if v.uuid == "" {
		v.uuid = g.ID
	}
	v.disks = v.disks[:0:0]
	for _, d := range g.Disks {
		if !d.Missing && strings.HasPrefix(d.Path, "/") {
			v.disks = append(v.disks, d.Path)
		}
	}
}

func (v *Group) scanned() []string {
	v.seen.Lock()
	defer v.seen.Unlock()
	return slices.Clone(v.disks)
}

// ReportLocked is a report while this process has LVM's lock.
func (v *Group) ReportLocked(ctx context.Context) (*Report, error) {
	args := reportArgs(v.of.Name)
	out, err := v.run(ctx, "", v.scanned(), append([]string{args[0], "--nolocking"}, args[1:]...))
	if err != nil {
		return nil, v.unreadable(err)
	}
	return ParseReport(out)
}

// PrepareDisk makes an empty device a disk that the group can be made of, with a UUID and so large a metadata area (pvcreate(8)).
func (v *Group) PrepareDisk(ctx context.Context, device, uuid, metadataSize string) error {
	args := []string{"pvcreate", "--uuid", uuid, "--norestorefile", "--metadatasize", metadataSize, device}
	if _, err := v.run(ctx, "", v.of.Devices, args); err != nil {
		return volume.Errorf(volume.KindOf(err), "pool %q: prepare %q for volume group %q: %w", v.of.Pool, device, v.of.Name, err)
	}
	return nil
}

// Create makes the group, with a tag, of its devices.
func (v *Group) Create(ctx context.Context, tag string) error {
	args := append([]string{"vgcreate", "--addtag", tag, v.of.Name}, v.of.Devices...)
	if _, err := v.run(ctx, "", v.of.Devices, args); err != nil {
		return volume.Errorf(volume.KindOf(err), "pool %q: make volume group %q: %w", v.of.Pool, v.of.Name, err)
	}
	return v.flush(v.of.Devices)
}
