package hosttest

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

var growTests = []suiteTest{
	{"fills the device and does nothing more the second time", func(e *env) {
		for _, t := range e.growable() {
			from, device, target := e.device(least), e.device(2*least), e.dir(string(t))
			e.format(from, t)
			e.copy(from, device)
			e.mount(device, target, t)
			before := e.usage(target)
			if before.TotalBytes > int64(least) {
				e.Errorf("%s has %d bytes before Grow, its source %d", t, before.TotalBytes, least)
			}
			e.ok("Grow", e.m.Grow(e.Context(), device, target, t))
			after := e.usage(target)
			if after.TotalBytes < int64(2*least)*8/10 || after.TotalBytes > int64(2*least) || after.AvailableBytes <= before.AvailableBytes {
				e.Errorf("%s on %d bytes: %+v, then %+v", t, 2*least, before, after)
			}
			e.ok("Grow again", e.m.Grow(e.Context(), device, target, t))
			if again := e.usage(target); again.TotalBytes != after.TotalBytes {
				e.Errorf("%s grew from %d to %d bytes", t, after.TotalBytes, again.TotalBytes)
			}
		}
	}},
	{"works through a bind mount", func(e *env) {
		from, device, a, b := e.device(least), e.device(2*least), e.dir("a"), e.dir("b")
		e.format(from, volume.XFS)
		e.copy(from, device)
		e.mount(device, a, volume.XFS)
		e.bind(a, b, false)
		before := e.usage(a)
		e.ok("Grow", e.m.Grow(e.Context(), device, b, volume.XFS))
		if after := e.usage(a); after.TotalBytes <= before.TotalBytes || after != e.usage(b) {
			e.Errorf("%+v, then %+v at one path and %+v at the other", before, after, e.usage(b))
		}
	}},
	{"fails on a read-only mount and leaves the size", func(e *env) {
		from, device, target := e.device(least), e.device(2*least), e.dir("target")
		e.format(from, volume.XFS)
		e.copy(from, device)
		e.mount(device, target, volume.XFS, "ro")
		before := e.usage(target)
		e.fails("Grow", e.m.Grow(e.Context(), device, target, volume.XFS))
		if after := e.usage(target); after != before {
			e.Errorf("%+v, then %+v", before, after)
		}
	}},
	{"is seen in a usage that adds up", func(e *env) {
		for _, t := range volume.FSTypes() {
			device, target := e.device(least), e.dir(string(t))
			e.format(device, t)
			e.mount(device, target, t)
			u := e.usage(target)
			if u.TotalBytes <= 0 || u.TotalBytes > int64(least) || u.AvailableBytes <= 0 || u.UsedBytes < 0 || u.UsedBytes+u.AvailableBytes > u.TotalBytes {
				e.Errorf("%s: %+v", t, u)
			}
			if u.UsedInodes+u.FreeInodes != u.TotalInodes || (t == volume.Btrfs) != (u.TotalInodes == 0) {
				e.Errorf("%s: %+v", t, u)
			}
		}
	}},
	{"is NotFound where there is nothing to ask for its usage", func(e *env) {
		_, err := e.m.Usage(e.gone("missing"))
		e.is("Usage", err, volume.NotFound)
	}},
}

// growable lists the file systems that this process can grow while they are mounted. The kernel grows
// an ext4 only for a process with CAP_SYS_RESOURCE, which some containers take even from root.
func (e *env) growable() []volume.FSType {
	types := volume.FSTypes()
	if _, remembered := e.m.(*Machine); remembered || e.has(unix.CAP_SYS_RESOURCE) {
		return types
	}
	e.Log("NOT TESTED: growing ext4, for this process lacks CAP_SYS_RESOURCE")
	return slices.DeleteFunc(types, func(t volume.FSType) bool { return t == volume.Ext4 })
}

func (e *env) has(capability int) bool {
	e.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	e.ok("capget", unix.Capget(&header, &data[0]))
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}

func (e *env) usage(path string) host.Usage {
	e.Helper()
	u, err := e.m.Usage(path)
	e.ok("Usage", err)
	return u
}
