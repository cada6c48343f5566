package lvm

import "context"

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
		if mapped[p.vg.Mapped(name)].ReadOnly {
			readOnly = append(readOnly, name)
		}
	}
	return p.vg.ReadOnly(readOnly...), nil
}

// keepReadOnlyAll is keepReadOnly of all that is in the pool.
func (p *Pool) keepReadOnlyAll(ctx context.Context) (string, error) {
	if p.thin() {
		return "", nil
	}
	g, err := p.vg.Layout(ctx)
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
