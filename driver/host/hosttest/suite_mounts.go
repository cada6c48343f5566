package hosttest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/volume"
)

var mountTests = []suiteTest{
	{"is in the table until it is unmounted", func(e *env) {
		for _, t := range volume.FSTypes() {
			device, target := e.device(least), e.dir(string(t))
			e.format(device, t)
			e.mount(device, target, t)
			m := e.one(target)
			if m.FSType != string(t) || m.Source != device || m.Root != "/" || m.ReadOnly {
				e.Errorf("%s is in the table as %+v", t, m)
			}
			if d, err := e.m.Device(device); err != nil || (t != volume.Btrfs && d.Number != m.Device) {
				e.Errorf("%s: device %+v (%v), mount %+v", t, d, err, m)
			}
			e.unmount(target)
			e.none()
			e.unmount(target)
		}
	}},
	{"takes writes, lives nowhere else, and is clean when it has gone", func(e *env) {
		for _, t := range volume.FSTypes() {
			device, target := e.device(least), e.dir(string(t))
			e.format(device, t)
			e.mount(device, target, t)
			if why, err := e.m.Stopped(e.one(target)); why != "" || err != nil {
				e.Errorf("%s has stopped: %q, %v", t, why, err)
			}
			for _, mounted := range []bool{true, false} {
				if elsewhere, err := e.m.Elsewhere(device); elsewhere.FSType != "" || elsewhere.Thawed || err != nil {
					e.Errorf("%s, mounted %t, is said to be %+v, %v", t, mounted, elsewhere, err)
				}
				e.unmount(target)
			}
			if dirty, err := e.m.Dirty(device, t); dirty || err != nil {
				e.Errorf("%s is said to be dirty: %t, %v", t, dirty, err)
			}
		}
	}},
	{"is read-only if asked", func(e *env) {
		for t, options := range map[volume.FSType][]string{
			volume.Ext4: {"ro", "noload"}, volume.XFS: {"ro", "norecovery"}, volume.Btrfs: {"ro", "rescue=nologreplay"},
		} {
			device, target := e.device(least), e.dir(string(t))
			e.format(device, t)
			e.mount(device, target, t, options...)
			if m := e.one(target); !m.ReadOnly {
				e.Errorf("%s is in the table as %+v", t, m)
			}
			e.unmount(target)
			e.mount(device, target, t, "rw", "noatime", "ro")
			if m := e.one(target); !m.ReadOnly {
				e.Errorf("%s, \"ro\" behind \"rw\", is in the table as %+v", t, m)
			}
		}
	}},
	{"is read-only on a device that is, if that is asked, and else fails", func(e *env) {
		for _, t := range volume.FSTypes() {
			device, target := e.device(least), e.dir(string(t))
			e.format(device, t)
			e.setReadOnly(device, true)
			err := e.m.Mount(e.Context(), device, target, t, nil)
			if e.is("Mount for writing", err, volume.Internal); !strings.Contains(err.Error(), "the device is read-only") {
				e.Errorf("%s: %v", t, err)
			}
			e.none()
			e.mount(device, target, t, "ro")
			if m := e.one(target); !m.ReadOnly {
				e.Errorf("%s is in the table as %+v", t, m)
			}
			e.unmount(target)
			e.setReadOnly(device, false)
		}
	}},
	{"fails and mounts nothing where it cannot be", func(e *env) {
		device, blank, target := e.device(small), e.device(small), e.dir("target")
		e.format(device, volume.Ext4)
		mount := func(device, target string, t volume.FSType, options ...string) error {
			return e.m.Mount(e.Context(), device, target, t, options)
		}
		e.fails("a target that is not there", mount(device, e.gone("missing"), volume.Ext4))
		e.fails("a target that is a file", mount(device, e.file("file"), volume.Ext4))
		e.fails("another type", mount(device, target, volume.XFS))
		e.fails("a blank device", mount(blank, target, volume.Ext4))
		e.fails("a missing device", mount(e.gone("device"), target, volume.Ext4))
		e.fails("an option of another file system", mount(device, target, volume.Ext4, "nouuid"))
		e.none()
	}},
	{"is one file system, mounted twice", func(e *env) {
		device, a, b := e.device(small), e.dir("a"), e.dir("b")
		e.format(device, volume.Ext4)
		e.mount(device, a, volume.Ext4)
		e.is("read-only beside writable", e.m.Mount(e.Context(), device, b, volume.Ext4, []string{"ro"}), volume.Busy)
		e.is("at one place", e.m.Mount(e.Context(), device, a, volume.Ext4, nil), volume.Busy)
		e.one(a)
		e.mount(device, b, volume.Ext4)
		if e.one(a).Device != e.one(b).Device {
			e.Errorf("mounted: %v", e.mounts())
		}
		e.unmount(a)
		e.one(b)
	}},
	{"can lie over another one", func(e *env) {
		lower, upper, target := e.device(small), e.device(small), e.dir("target")
		e.format(lower, volume.Ext4)
		e.format(upper, volume.Ext4)
		e.mount(lower, target, volume.Ext4)
		e.mount(upper, target, volume.Ext4)
		if mounts := e.mounts(); len(mounts) != 2 || mounts[0].Source != lower || mounts[1].Source != upper {
			e.Errorf("mounted: %v", mounts)
		}
		e.unmount(target)
		if m := e.one(target); m.Source != lower {
			e.Errorf("left is %+v", m)
		}
	}},
	{"is InUse while somebody has it open", func(e *env) {
		device, target := e.device(small), e.dir("target")
		e.format(device, volume.Ext4)
		e.mount(device, target, volume.Ext4)
		release := e.hold(target)
		e.is("Unmount", e.m.Unmount(e.Context(), target), volume.InUse)
		e.one(target)
		release()
		e.unmount(target)
		e.none()
	}},
	{"is nothing to unmount where nothing is mounted", func(e *env) {
		for _, path := range []string{e.dir("directory"), e.file("file"), e.gone("missing"), e.gone("missing/below")} {
			e.unmount(path)
		}
	}},
	{"lets a copy of an xfs in beside its source with nouuid only", func(e *env) {
		device, copied, a, b := e.device(least), e.device(least), e.dir("a"), e.dir("b")
		e.format(device, volume.XFS)
		e.copy(device, copied)
		e.mount(device, a, volume.XFS)
		e.fails("without nouuid", e.m.Mount(e.Context(), copied, b, volume.XFS, nil))
		e.mount(copied, b, volume.XFS, "nouuid")
		e.unmount(a)
		e.mount(device, a, volume.XFS)
		if len(e.mounts()) != 2 {
			e.Errorf("mounted: %v", e.mounts())
		}
	}},
}

var bindTests = []suiteTest{
	{"is for whom it is noted to be, also when a device is bound over the note", func(e *env) {
		device, target, unnoted := e.device(small), e.file("target"), e.file("unnoted")
		has := func(path, want string) {
			e.Helper()
			got, err := e.m.Owner(path)
			e.ok("Owner", err)
			if got != want {
				e.Errorf("Owner(%s) = %q, want %q", path, got, want)
			}
		}
		e.ok("SetOwner", e.m.SetOwner(target, "n1/fast/first"))
		e.ok("SetOwner", e.m.SetOwner(target, "n1/fast/v"))
		has(target, "n1/fast/v")
		for _, path := range []string{target, unnoted} {
			e.bind(device, path, false)
			e.bind(device, path, false)
		}
		has(target, "n1/fast/v")
		for _, path := range []string{unnoted, e.dir("directory"), e.gone("missing"), e.gone("missing/below")} {
			has(path, "")
		}
		e.is("SetOwner on nothing", e.m.SetOwner(e.gone("missing"), "n1/fast/v"), volume.NotFound)
		e.unmount(target)
		e.unmount(target)
		has(target, "n1/fast/v")
		e.ok("remove", os.Remove(target))
		has(target, "")
		e.file("target")
		has(target, "")
	}},
	{"shows a file system at a second path", func(e *env) {
		device, a, b := e.device(small), e.dir("a"), e.dir("b")
		e.format(device, volume.Ext4)
		e.mount(device, a, volume.Ext4)
		e.bind(a, b, false)
		source, bound := e.one(a), e.one(b)
		source.Target = b
		if bound != source {
			e.Errorf("bound as %+v, want %+v", bound, source)
		}
		e.unmount(a)
		if m := e.one(b); m != bound {
			e.Errorf("after the source is unmounted, it is %+v", m)
		}
	}},
	{"can be read-only and leaves its source as it was", func(e *env) {
		device, a, b, c := e.device(small), e.dir("a"), e.dir("b"), e.dir("c")
		e.format(device, volume.Ext4)
		e.mount(device, a, volume.Ext4)
		e.bind(a, b, true)
		e.bind(b, c, false)
		if e.one(a).ReadOnly || !e.one(b).ReadOnly || !e.one(c).ReadOnly {
			e.Errorf("mounted: %v", e.mounts())
		}
	}},
	{"shows a device on a file", func(e *env) {
		device, target, second := e.device(small), e.file("target"), e.file("second")
		e.bind(device, target, false)
		m := e.one(target)
		if m.Root == "/" || !slices.Contains([]string{"devtmpfs", "tmpfs"}, m.FSType) || m.ReadOnly {
			e.Errorf("bound as %+v", m)
		}
		e.bind(target, second, false)
		e.unmount(target)
		want, err := e.m.Device(device)
		e.ok("Device", err)
		if got, err := e.m.Device(second); err != nil || got != want {
			e.Errorf("through the second file: %+v, %v, want %+v", got, err, want)
		}
		e.unmount(second)
		e.none()
	}},
	{"fails and mounts nothing where it cannot be", func(e *env) {
		device := e.device(small)
		e.is("no source", e.m.Bind(e.Context(), e.gone("missing"), e.dir("a"), false), volume.NotFound)
		e.is("no target", e.m.Bind(e.Context(), e.dir("b"), e.gone("missing"), false), volume.NotFound)
		e.fails("a device on a directory", e.m.Bind(e.Context(), device, e.dir("c"), false))
		e.fails("a directory on a file", e.m.Bind(e.Context(), e.dir("d"), e.file("file"), true))
		e.none()
	}},
	{"keeps what it lies in from being unmounted", func(e *env) {
		outer, inner := e.dir("outer"), e.dir("inner")
		e.bind(inner, outer, false)
		e.bind(outer, outer, false)
		device := e.device(small)
		e.format(device, volume.Ext4)
		below := filepath.Join(outer, "below")
		e.ok("make a directory", os.Mkdir(below, 0o750)) // seen in outer and in inner, which are one
		if _, err := os.Stat(filepath.Join(inner, "below")); err != nil {
			e.ok("make it where a remembered mount leads", os.Mkdir(filepath.Join(inner, "below"), 0o750))
		}
		e.mount(device, below, volume.Ext4)
		e.is("Unmount", e.m.Unmount(e.Context(), outer), volume.InUse)
		e.unmount(below)
		e.unmount(outer)
		e.unmount(outer)
		e.none()
	}},
}
