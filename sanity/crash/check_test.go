package crash_test

import (
	"context"
	"errors"
	"fmt"
)

// check compares everything with the model after a call has ended.
func (r *run) check(o operation) error {
	for _, path := range o.freezes {
		if err := breathes(path); err != nil {
			return err
		}
	}
	must := r.model.state()
	if err := r.compare("after "+o.text, must, must, nil); err != nil {
		return err
	}
	if o.examine != "" {
		if err := r.examine(o.examine, o.fills); err != nil {
			return err
		}
	}
	return r.readAll()
}

func (r *run) compare(when string, before, after state, missing []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	has, err := observe(ctx, r.dir, r.model.where, r.driver.clients)
	if err != nil {
		return fmt.Errorf("%s: %w", when, err)
	}
	d := has.differs(before, after, missing...)
	if d.none() {
		return nil
	}
	r.counts.lost += len(d.lost)
	r.counts.leaked += len(d.leaked)
	return fmt.Errorf("%s:\n%s", when, d)
}

// readAll reads every volume that can be read.
func (r *run) readAll() error {
	var errs []error
	for _, v := range r.model.those(func(vol) bool { return true }) {
		if path, _, ok := v.at(); ok {
			if err := r.contents.read(path, v); err != nil {
				r.counts.lost++
				errs = append(errs, fmt.Errorf("volume %s: %w", v.handle, err))
			}
		}
	}
	return errors.Join(errs...)
}

// examine looks at the file system of a volume: it is the one that was there before, and larger if it
// was to fill a volume that was grown.
func (r *run) examine(handle string, filled bool) error {
	v := r.model.volumes[handle]
	path, writable, ok := v.at()
	if !ok || v.isBlock() {
		return nil
	}
	device, err := r.model.where.path(r.dir, v)
	if err != nil {
		return err
	}
	found, err := r.machine.Probe(context.Background(), device)
	if err != nil {
		return err
	}
	if found.Type != v.form || (v.data.uuid != "" && found.UUID != v.data.uuid) {
		r.counts.lost++
		return fmt.Errorf("volume %s holds %s %s, and must hold %s %s", handle, found.Type, found.UUID, v.form, v.data.uuid)
	}
	r.model.change(handle, func(v *vol) { v.data.uuid = found.UUID })
	if !filled || !writable {
		return nil
	}
	usage, err := r.machine.Usage(path)
	if err != nil {
		return err
	}
	if v.data.measured > 0 && v.size > v.data.measured && usage.TotalBytes <= v.data.capacity {
		return fmt.Errorf("volume %s was grown to %s, and its file system has %d bytes as before", handle, v.size, usage.TotalBytes)
	}
	r.model.change(handle, func(v *vol) { v.data.measured, v.data.capacity = v.size, usage.TotalBytes })
	return nil
}

// writeSomething writes new content to a volume that can be written.
func (r *run) writeSomething(c *chooser) error {
	v, ok := c.toWrite()
	if !ok {
		return nil
	}
	r.number++
	return r.write(v, r.number, c.chance(syncPercent))
}

// toWrite chooses a volume that can be written.
func (c *chooser) toWrite() (vol, bool) {
	return one(c, c.those(func(v vol) bool { _, writable, ok := v.at(); return ok && writable }))
}

func (r *run) write(v vol, number uint64, sync bool) error {
	path, _, _ := v.at()
	r.note("write content %d to %s, synced %t", number, v.handle, sync)
	if err := r.contents.write(path, v, number, sync); err != nil {
		return fmt.Errorf("write to %s: %w", v.handle, err)
	}
	r.model.change(v.handle, func(v *vol) { v.data.written, v.data.torn = number, 0 })
	return nil
}
