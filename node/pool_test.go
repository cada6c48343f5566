package node_test

import (
	"context"

	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
)

// watchedPool lets a test fail or end each step, and keeps to the rule that a device which is in use
// cannot be detached.
type watchedPool struct {
	*memory.Pool
	machine *machine
	fails   error                // what Get and Create answer; nil: what they do
	seen    func(*volume.Volume) // changes what Get answers, as somebody who is at the devices does; or nil
}

func (p *watchedPool) step(method string, do func() error) error {
	if err := p.machine.watch(step{Method: "pool." + method}); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return p.machine.watch(step{Method: "pool." + method, After: true})
}

func (p *watchedPool) Get(ctx context.Context, id volume.ID) (v volume.Volume, err error) {
	if p.fails != nil {
		return v, p.fails
	}
	err = p.step("Get", func() error { v, err = p.Pool.Get(ctx, id); return err })
	if p.seen != nil {
		p.seen(&v)
	}
	return v, err
}

func (p *watchedPool) Create(ctx context.Context, spec volume.Spec) (v volume.Volume, err error) {
	if p.fails != nil {
		return v, p.fails
	}
	err = p.step("Create", func() error { v, err = p.Pool.Create(ctx, spec); return err })
	return v, err
}

func (p *watchedPool) Delete(ctx context.Context, id volume.ID) error {
	return p.step("Delete", func() error { return p.Pool.Delete(ctx, id) })
}

func (p *watchedPool) Expand(ctx context.Context, id volume.ID, size volume.Range) (v volume.Volume, err error) {
	err = p.step("Expand", func() error { v, err = p.Pool.Expand(ctx, id, size); return err })
	return v, err
}

func (p *watchedPool) Mark(ctx context.Context, id volume.ID, mark volume.Mark) error {
	return p.step("Mark", func() error { return p.Pool.Mark(ctx, id, mark) })
}

func (p *watchedPool) Attach(ctx context.Context, id volume.ID, readOnly bool) (device string, err error) {
	err = p.step("Attach", func() error {
		if device, err = p.Pool.Attach(ctx, id, readOnly); err != nil {
			return err
		}
		return p.machine.m.SetReadOnly(device, readOnly)
	})
	return device, err
}

func (p *watchedPool) Detach(ctx context.Context, id volume.ID) error {
	return p.step("Detach", func() error {
		v, err := p.Pool.Get(ctx, id)
		if err == nil && v.Attached() {
			if p.machine.m.InUse(v.Device) {
				return volume.Errorf(volume.InUse, "device %s is in use", v.Device)
			}
			p.machine.ok("SetReadOnly", p.machine.m.SetReadOnly(v.Device, false))
		}
		return p.Pool.Detach(ctx, id)
	})
}
