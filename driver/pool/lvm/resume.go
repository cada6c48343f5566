package lvm

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host"
)

// LVM suspends a volume with all that it is made of while it changes its table. Killed meanwhile, it leaves all of that
// suspended, and who writes to the volume waits.

// resumeLeft resumes what was left suspended by a process that is gone. With the lock, no command of LVM is
// in the middle of anything.
func (p *Pool) resumeLeft(ctx context.Context, g *group) (err error) {
	if left, err := p.suspended(g); err != nil || len(left) == 0 {
		return err
	}
	release, err := p.lockGroup(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	left, err := p.suspended(g)
	if err != nil {
		return err
	}
	klog.FromContext(ctx).Info("resuming what was left suspended", "pool", p.name, "devices", left)
	return host.ThawLeft(ctx, left)
}

// resumeCutOff is resumeLeft after a command that failed, which may have been killed.
func (p *Pool) resumeCutOff(ctx context.Context) {
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTimeout)
	defer cancel()
	g, err := p.stored(work)
	if err == nil {
		err = p.resumeLeft(work, g)
	}
	if err != nil {
		klog.FromContext(ctx).Error(err, "what a command of LVM may have left suspended stays so", "pool", p.name)
	}
}

// part is what device-mapper has behind the name of a logical volume for what that is made of: halves of a thin pool,
// images of a RAID volume, and layers.
var part = regexp.MustCompile(`^(_t(?:data|meta))?(_r(?:image|meta)_[0-9]+)?(-(?:real|cow|tpool))?$`)

// suspended returns the names of our devices that are suspended, and of those that ours lie on: each before those
// that it lies on, for they are resumed from the end.
func (p *Pool) suspended(g *group) (names []string, err error) {
	mapped, err := p.machine.MappedDevices()
	if err != nil {
		return nil, err
	}
	var bases []string
	for _, l := range g.lvs {
		if p.ours(l) || (p.thin() && l.name == p.config.ThinPool) {
			bases = append(bases, p.mapped(l.name))
		}
	}
	below := map[string]int{}
	for name, d := range mapped {
		for _, base := range bases {
			rest, ok := strings.CutPrefix(name, base)
			if layers := part.FindStringSubmatch(rest); d.Suspended && ok && layers != nil {
				names = append(names, name)
				below[name] = depth(layers[1], layers[2], layers[3])
				break
			}
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(below[a]-below[b], strings.Compare(a, b)) })
	return names, nil
}

// depth orders the devices of one volume: those with the higher number lie below.
func depth(half, image, layer string) int {
	switch {
	case image != "":
		return 3
	case half != "":
		return 2
	case layer != "":
		return 1
	}
	return 0
}
