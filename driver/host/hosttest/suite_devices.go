package hosttest

import (
	"bytes"
	"os"
	"path/filepath"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

var deviceTests = []suiteTest{
	{"has its size, and a number of its own that stays", func(e *env) {
		a, b := e.device(small), e.device(2*small)
		first, err := e.m.Device(a)
		e.ok("Device", err)
		again, err := e.m.Device(a)
		e.ok("Device", err)
		other, err := e.m.Device(b)
		e.ok("Device", err)
		if first != again || first.Number == other.Number || first.SizeBytes != small || other.SizeBytes != 2*small {
			e.Errorf("got %+v, %+v again and %+v of another", first, again, other)
		}
	}},
	{"is found through what leads to it", func(e *env) {
		device, target := e.device(small), e.file("target")
		want, err := e.m.Device(device)
		e.ok("Device", err)
		e.bind(device, target, false)
		link := filepath.Join(e.dir(""), "link")
		e.ok("make a link", os.Symlink(device, link))
		for _, path := range []string{target, link} {
			if got, err := e.m.Device(path); err != nil || got != want {
				e.Errorf("Device(%s) = %+v, %v, want %+v", path, got, err, want)
			}
		}
	}},
	{"is NotFound where there is none", func(e *env) {
		for _, path := range []string{e.gone("missing"), e.dir("directory"), e.file("file"), e.gone("missing/below")} {
			_, err := e.m.Device(path)
			e.is("Device of "+path, err, volume.NotFound)
		}
	}},
}

var claimTests = []suiteTest{
	{"keeps others out until it is released", func(e *env) {
		device := e.device(small)
		release, err := e.m.Claim(device)
		e.ok("Claim", err)
		_, err = e.m.Claim(device)
		e.is("a second Claim", err, volume.Busy)
		release()
		release, err = e.m.Claim(device)
		e.ok("Claim after release", err)
		release()
	}},
	{"does not go with a mount", func(e *env) {
		device, target := e.device(small), e.dir("target")
		e.format(device, volume.Ext4)
		release, err := e.m.Claim(device)
		e.ok("Claim", err)
		e.is("Mount of a claimed device", e.m.Mount(e.Context(), device, target, volume.Ext4, nil), volume.Busy)
		e.none()
		release()
		e.mount(device, target, volume.Ext4)
		_, err = e.m.Claim(device)
		e.is("Claim of a mounted device", err, volume.Busy)
		e.unmount(target)
		release, err = e.m.Claim(device)
		e.ok("Claim after Unmount", err)
		release()
	}},
	{"is not hindered by a device node that is bound", func(e *env) {
		device := e.device(small)
		e.bind(device, e.file("target"), false)
		release, err := e.m.Claim(device)
		e.ok("Claim", err)
		release()
	}},
	{"fails where there is no device", func(e *env) {
		_, err := e.m.Claim(e.gone("missing"))
		e.is("Claim", err, volume.NotFound)
	}},
}

var probeTests = []suiteTest{
	{"calls zeros blank", func(e *env) {
		if found := e.probe(e.device(small)); found != (host.Signature{Blank: true}) {
			e.Errorf("got %+v", found)
		}
	}},
	{"does not call data at either end blank", func(e *env) {
		for _, at := range []volume.Size{0, volume.MiB - 4*volume.KiB, small - volume.MiB, small - 4*volume.KiB} {
			device := e.device(small)
			e.write(device, at, bytes.Repeat([]byte("loam"), 1024))
			if found := e.probe(device); found != (host.Signature{}) {
				e.Errorf("with 4 KiB at %d got %+v", at, found)
			}
		}
	}},
	{"does not call the last byte blank", func(e *env) {
		device := e.device(small)
		e.write(device, small-1, []byte{1})
		if found := e.probe(device); found != (host.Signature{}) {
			e.Errorf("got %+v", found)
		}
	}},
	{"names a file system and its UUID", func(e *env) {
		for _, t := range volume.FSTypes() {
			device := e.device(least)
			e.format(device, t)
			if found := e.probe(device); found.Type != string(t) || found.UUID == "" || found.Blank {
				e.Errorf("on %s got %+v", t, found)
			}
		}
	}},
	{"names a partition table", func(e *env) {
		device := e.device(small)
		e.write(device, 510, []byte{0x55, 0xaa})
		e.write(device, 446, []byte{0, 0, 2, 0, 0x83, 0, 2, 0, 1, 0, 0, 0, 1, 0, 0, 0}) // one Linux partition
		if found := e.probe(device); found.Type != "partitions" || found.Blank {
			e.Errorf("got %+v", found)
		}
	}},
	{"fails where it cannot read", func(e *env) {
		for _, path := range []string{e.gone("missing"), e.dir("directory")} {
			found, err := e.m.Probe(e.Context(), path)
			e.fails("Probe of "+path, err)
			if found != (host.Signature{}) {
				e.Errorf("Probe of %s says %+v beside its error", path, found)
			}
		}
	}},
	{"fails on two signatures", func(e *env) {
		device := e.device(least)
		e.format(device, volume.Btrfs)
		e.write(device, 0, []byte("XFSB\x00\x00\x10\x00"))
		other := e.device(least)
		e.format(other, volume.XFS)
		super := make([]byte, 512)
		f, err := os.Open(other)
		e.ok("open", err)
		defer f.Close() //nolint:errcheck // only read
		_, err = f.ReadAt(super, 0)
		e.ok("read", err)
		e.write(device, 0, super)
		_, err = e.m.Probe(e.Context(), device)
		e.fails("Probe", err)
	}},
}

var formatTests = []suiteTest{
	{"takes further arguments", func(e *env) {
		device := e.device(small)
		e.ok("Format", e.m.Format(e.Context(), device, host.Format{Type: volume.Ext4, Args: []string{"-U", "9a4f6c3e-0b1d-4c55-9f0a-5d2b8f7f1e11"}}))
		if found := e.probe(device); found.UUID != "9a4f6c3e-0b1d-4c55-9f0a-5d2b8f7f1e11" {
			e.Errorf("got %+v", found)
		}
	}},
	{"is undone by Zero", func(e *env) {
		device := e.device(least)
		for _, t := range volume.FSTypes() {
			e.format(device, t)
			e.write(device, least/2, []byte("left over"))
			e.ok("Zero", e.m.Zero(e.Context(), device))
			if found := e.probe(device); !found.Blank {
				e.Errorf("after Zero of %s the probe says %+v", t, found)
			}
			got := make([]byte, 9)
			f, err := os.Open(device)
			e.ok("open", err)
			_, err = f.ReadAt(got, int64(least/2))
			e.ok("read", err)
			e.ok("close", f.Close())
			if !bytes.Equal(got, make([]byte, 9)) {
				e.Errorf("after Zero the middle reads %q", got)
			}
		}
	}},
	{"does nothing to what is mounted", func(e *env) {
		device, target := e.device(small), e.dir("target")
		e.format(device, volume.Ext4)
		before := e.probe(device)
		e.mount(device, target, volume.Ext4)
		e.fails("Format of a mounted device", e.m.Format(e.Context(), device, host.Format{Type: volume.Ext4}))
		e.fails("Zero of a mounted device", e.m.Zero(e.Context(), device))
		e.unmount(target)
		if after := e.probe(device); after != before {
			e.Errorf("the file system was %+v and is %+v", before, after)
		}
	}},
	{"leaves what passes a check", func(e *env) {
		for _, t := range volume.FSTypes() {
			device := e.device(least)
			e.format(device, t)
			e.ok("Check", e.m.Check(e.Context(), device, t))
		}
	}},
	{"fails on what is too small, unknown or missing", func(e *env) {
		device := e.device(small)
		e.fails("xfs on 16 MiB", e.m.Format(e.Context(), device, host.Format{Type: volume.XFS}))
		e.fails("an unknown type", e.m.Format(e.Context(), device, host.Format{Type: "vfat"}))
		e.fails("a missing device", e.m.Format(e.Context(), e.gone("missing"), host.Format{Type: volume.Ext4}))
		if found := e.probe(device); !found.Blank {
			e.Errorf("the device is left as %+v", found)
		}
	}},
	{"does not make a file of a missing device", func(e *env) {
		path := e.gone("missing")
		e.fails("Zero", e.m.Zero(e.Context(), path))
		e.fails("Check", e.m.Check(e.Context(), path, volume.Ext4))
		e.gone("missing")
	}},
}
