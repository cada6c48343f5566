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
func (p *Pool) lvm(ctx context.Context, args ...string) ([]byte, error) {
	return p.lvmWith(ctx, "", args...)
}

// lvmWith is lvm with further settings. A command that changes what is in a thin pool is begun only where LVM and the
// kernel agree about the pool (thinpool.go).
func (p *Pool) lvmWith(ctx context.Context, further string, args ...string) ([]byte, error) {
	command := func() ([]byte, error) { return p.lvmPlain(ctx, further, args...) }
	if !p.thin() || !changes(args) {
		return command()
	}
	if err := p.agree(ctx, args[0]); err != nil {
		return nil, err
	}
	if args[0] == "lvcreate" {
		return p.makeThin(ctx, flagValue(args, "--name"), flagValue(args, "--addtag"), command)
	}
	return command()
}

// lvmPlain is lvmWith also for the thin pool itself. Where the command fails and the group has got other disks
// meanwhile, it is tried again with those. A command that changes the group is not begun while one of its disks is missing.
func (p *Pool) lvmPlain(ctx context.Context, further string, args ...string) ([]byte, error) {
	p.revive(ctx)
	if changes(args) {
		if err := p.whole(ctx, args[0]); err != nil {
			return nil, err
		}
	}
	disks := p.scanned()
	out, err := p.run(ctx, further, disks, args)
	if isExit(err) {
		if _, lookErr := p.look(ctx); lookErr == nil && !slices.Equal(disks, p.scanned()) {
			disks = p.scanned()
			out, err = p.run(ctx, further, disks, args)
		}
	}
	if err != nil && p.mendFailed(ctx) && activates(args) { // LVM itself leaves parts active of what it has moved
		out, err = p.run(ctx, further, disks, args)
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
	switch {
	case isExit(err):
		err = refused{err, nameIn(p.config.VolumeGroup, args)}
	case err != nil:
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

// only selects the logical volume of that name, if it has all the tags: so a foreign one of our name is
// never touched. A command that finds none does nothing, and ends with 0: whether it did something is read back.
func (p *Pool) only(name string, tags ...string) []string {
	conditions := []string{fmt.Sprintf("vg_name=%q", p.config.VolumeGroup), fmt.Sprintf("lv_name=%q", name)}
	for _, tag := range tags {
		conditions = append(conditions, fmt.Sprintf("lv_tags=%q", tag))
	}
	return []string{"--select", strings.Join(conditions, " && "), p.config.VolumeGroup}
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
