package pooltest

import (
	"github.com/loam-storage/loam/driver/volume"
)

var expandTests = []test{
	{name: "an expanded volume keeps its bytes and has zeros behind them", run: func(e *env) {
		e.create("a")
		e.write("a", "kept", size-4096)
		v, err := e.p.Expand(e.Context(), e.id("a"), atLeast(2*size))
		e.ok("Expand", err)
		if v.Size < 2*size || e.get("a").Size != v.Size {
			e.Errorf("Expand answered %d bytes, Get %d", v.Size, e.get("a").Size)
		}
		e.holds("a", "kept", size-4096)
	}},
	{name: "the device grows while attached", run: func(e *env) {
		e.create("a")
		device := e.attach("a")
		e.writeDevice(device, "kept", 0)
		_, err := e.p.Expand(e.Context(), e.id("a"), atLeast(2*size))
		e.ok("Expand", err)
		if got := e.read(device); volume.Size(len(got)) != e.get("a").Size || string(got[:4]) != "kept" {
			e.Errorf("%s has %d bytes", device, len(got))
		}
		e.writeDevice(device, "more", 2*size-4096)
		e.detach("a")
	}},
	{name: "as large already is the same volume", run: func(e *env) {
		e.create("a")
		for _, bytes := range []volume.Size{0, 1, size / 2, size} {
			v, err := e.p.Expand(e.Context(), e.id("a"), atLeast(bytes))
			e.ok("Expand", err)
			if v.Size != size {
				e.Errorf("Expand to %d answered %d bytes", bytes, v.Size)
			}
		}
	}},
	{name: "a range that cannot be met is OutOfRange and leaves the volume as it was", run: func(e *env) {
		e.create("a")
		for what, r := range map[string]volume.Range{
			"a limit below its size":            {LimitBytes: size - 1},
			"between two sizes":                 {RequiredBytes: size + 1, LimitBytes: size + 2},
			"a limit below what is required":    {RequiredBytes: 2 * size, LimitBytes: size},
			"more than there can ever be of it": {RequiredBytes: 1<<63 - 1, LimitBytes: 1<<63 - 1},
		} {
			_, err := e.p.Expand(e.Context(), e.id("a"), r)
			if kind := volume.KindOf(err); err == nil || (kind != volume.OutOfRange && kind != volume.Full) {
				e.Errorf("%s: %v", what, err)
			}
		}
		if v := e.get("a"); v.Size != size {
			e.Errorf("the volume has %d bytes", v.Size)
		}
	}},
	{name: "no room is Full and leaves the volume as it was", run: func(e *env) {
		e.create("a")
		before := e.status()
		_, err := e.p.Expand(e.Context(), e.id("a"), atLeast(before.TotalBytes*2))
		e.is("Expand", err, volume.Full)
		e.free(before.FreeBytes)
		if v := e.get("a"); v.Size != size {
			e.Errorf("the volume has %d bytes", v.Size)
		}
		e.holds("a", "", 0)
	}},
}
