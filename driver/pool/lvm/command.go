package lvm

import (
	"context"
	"errors"
	"fmt"
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

// lvm runs one lvm command, with only the pool's own disks to scan once they are known. What it changed
// is on the disks when it returns, for LVM does not make them flush their caches.
//
// A command that changes what is in a thin pool is begun only where LVM and the kernel agree about the pool (thinpool.go).
func (p *Pool) lvm(ctx context.Context, c Command) error {
	if !p.thin() || !c.changes() {
		return p.lvmPlain(ctx, c)
	}
	if err := p.agree(ctx, c.Name); err != nil {
		return err
	}
	if c.Name == "lvcreate" {
		return p.makeThin(ctx, c)
	}
	return p.lvmPlain(ctx, c)
}

// lvmPlain is lvm also for the thin pool itself.
func (p *Pool) lvmPlain(ctx context.Context, c Command) error {
	_, err := p.output(ctx, c)
	return err
}

// output runs a command, and returns what it prints. Where it fails and the group has got other disks
// meanwhile, it is tried again with those. A command that changes the group is not begun while one of its disks is missing.
func (p *Pool) output(ctx context.Context, c Command) ([]byte, error) {
	if c.Name == "lvremove" && (c.Select == nil || !c.Select.tagged()) {
		return nil, volume.Errorf(volume.Internal, "pool %q: %s relies on no tag", p.name, c.Name)
	}
	p.revive(ctx)
	if c.changes() {
		if err := p.whole(ctx, c.takes()); err != nil {
			return nil, err
		}
	}
	disks := p.scanned()
	run := func() ([]byte, error) {
		out, err := p.run(ctx, c.Settings, disks, append([]string{c.Name}, c.args(p.config.VolumeGroup)...))
		if isExit(err) {
			err = refused{err, c.lv()}
		}
		return out, err
	}
	out, err := run()
	if isExit(err) {
		if _, lookErr := p.look(ctx); lookErr == nil && !slices.Equal(disks, p.scanned()) {
			disks = p.scanned()
			out, err = run()
		}
	}
	if err != nil && p.mendFailed(ctx) && c.activates() { // LVM itself leaves parts active of what it has moved
		out, err = run()
	}
	if err != nil {
		return out, err
	}
	return out, p.flush(disks)
}

func (p *Pool) run(ctx context.Context, further string, disks, args []string) ([]byte, error) {
	if args[0] != "fullreport" { // which makes no device
		if err := p.machine.HoldBoundMapped(); err != nil {
			return nil, err
		}
	}
	timeout := commandTimeout
	if args[0] == "lvremove" {
		timeout = longTimeout
	}
	if p.thin() {
		further = checkThin + " " + further
		if _, active, err := p.thinUsage(); err == nil && !active {
			timeout = longTimeout
		}
	}
	all := []string{args[0], "--config", settings(p.config.VolumeGroup, further)}
	if len(disks) == 0 {
		var err error
		if disks, err = p.findGroup(ctx); err != nil {
			return nil, err
		}
	}
	all = append(all, devicesArgs(disks)...)
	out, err := p.runner.Run(ctx, host.Command{Name: "lvm", Args: append(all, args[1:]...), Timeout: timeout})
	if err != nil && !isExit(err) {
		err = p.lockedOut(ctx, err)
	}
	return out, err
}

func (p *Pool) flush(disks []string) error {
	for _, d := range disks {
		if err := p.flushDisk(d); err != nil {
			return volume.Errorf(volume.Internal, "pool %q: %w", p.name, err)
		}
	}
	return nil
}

// keepReadOnly returns the setting with which a command leaves a device that refuses writes
// as it is, empty where there is none. For a thin one that is in the metadata (permit).
func (p *Pool) keepReadOnly(lvs ...string) (string, error) {
	if p.thin() {
		return "", nil
	}
	mapped, err := p.machine.MappedDevices()
	if err != nil {
		return "", err
	}
	var readOnly []string
	for _, name := range lvs {
		if mapped[p.mapped(name)].ReadOnly {
			readOnly = append(readOnly, name)
		}
	}
	return p.readOnlyList(readOnly...), nil
}

// keepReadOnlyAll is keepReadOnly of all that is in the pool.
func (p *Pool) keepReadOnlyAll(ctx context.Context) (string, error) {
	if p.thin() {
		return "", nil
	}
	g, err := p.stored(ctx)
	if err != nil {
		return "", err
	}
	var ours []string
	for _, l := range g.LVs {
		if p.ours(l) {
			ours = append(ours, l.Name)
		}
	}
	return p.keepReadOnly(ours...)
}

// readOnlyList returns the setting that makes LVM activate logical volumes read-only, without
// a word of it in their metadata.
func (p *Pool) readOnlyList(lvs ...string) string {
	if len(lvs) == 0 {
		return ""
	}
	quoted := make([]string, len(lvs))
	for i, name := range lvs {
		quoted[i] = fmt.Sprintf("%q", p.config.VolumeGroup+"/"+name)
	}
	return "activation/read_only_volume_list=[" + strings.Join(quoted, ",") + "]"
}

// look has LVM report the volume group.
func (p *Pool) look(ctx context.Context) (*Report, error) {
	return p.reports.get(ctx, p.name, p.report)
}

// report reads the volume group from the disks that it had, and where that is not all of it any more, from those
// that are found to be its now.
func (p *Pool) report(ctx context.Context) (*Report, error) {
	disks := p.scanned()
	g, err := p.reportFrom(ctx, disks)
	if len(disks) > 0 && (err != nil || g.Missing > 0 || p.isAnother(g.ID)) {
		g, err = p.reportFrom(ctx, nil)
	}
	if err == nil {
		err = p.same(&g.Layout)
	}
	if err != nil {
		return nil, err
	}
	p.remember(&g.Layout)
	p.noticeUsage(&g.Layout, g.States[p.config.ThinPool])
	return g, nil
}

func (p *Pool) reportFrom(ctx context.Context, disks []string) (*Report, error) {
	out, err := p.run(ctx, "", disks, reportArgs(p.config.VolumeGroup))
	if err != nil {
		return nil, p.explain(err, nil, 0)
	}
	g, err := parseReport(out)
	if err != nil {
		return nil, volume.Errorf(volume.Internal, "pool %q: %w", p.name, err)
	}
	return g, nil
}

// isExit reports whether a command ran and ended with an error, rather than not at all.
func isExit(err error) bool {
	var exit *host.ExitError
	return errors.As(err, &exit)
}

// remember keeps which disks the group has, so that LVM need not look at others, and its extent size. Both are
// looked at again where they do not do.
func (p *Pool) remember(g *Layout) {
	p.seen.Lock()
	defer p.seen.Unlock()
	p.extent = g.Extent
	if p.uuid == "" {
		p.uuid = g.ID
	}
	p.disks = p.disks[:0:0]
	for _, d := range g.Disks {
		if !d.Missing && strings.HasPrefix(d.Path, "/") {
			p.disks = append(p.disks, d.Path)
		}
	}
}

func (p *Pool) scanned() []string {
	p.seen.Lock()
	defer p.seen.Unlock()
	return slices.Clone(p.disks)
}
