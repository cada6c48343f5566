package pooltest

import (
	"github.com/loam-storage/loam/driver/volume"
)

var blockTests = []test{
	{name: "a device has the logical blocks that its volume says, at each attach and when it has grown", run: func(e *env) {
		v := e.create("a")
		for range 2 {
			e.attach("a")
			e.blocks("a")
			_, err := e.p.Expand(e.Context(), e.id("a"), atLeast(e.get("a").Size+size))
			e.ok("Expand", err)
			e.blocks("a")
			e.detach("a")
		}
		if now := e.get("a"); now.BlockBytes != v.BlockBytes {
			e.Errorf("Create answered logical blocks of %d bytes, Get %d", v.BlockBytes, now.BlockBytes)
		}
	}},
	{name: "copies have the logical blocks of their source, also when that is gone", snapshots: true, run: func(e *env) {
		v := e.create("a")
		if s := e.snapshot("s", "a"); s.BlockBytes != v.BlockBytes {
			e.Errorf("the volume has logical blocks of %d bytes, its snapshot %d", v.BlockBytes, s.BlockBytes)
		}
		e.make(e.from(volume.FromVolume, "a", "clone", 2*size))
		e.make(e.from(volume.FromSnapshot, "s", "restored", 0))
		for _, name := range []string{"clone", "restored"} {
			e.attach(name)
			if copied := e.get(name); copied.BlockBytes != v.BlockBytes {
				e.Errorf("the source has logical blocks of %d bytes, %s %d", v.BlockBytes, name, copied.BlockBytes)
			}
			e.blocks(name)
			e.detach(name)
		}
	}},
	{name: "logical blocks that no device has are Invalid, and so are others than a source's", snapshots: true, run: func(e *env) {
		v := e.create("a")
		if v.BlockBytes == 0 {
			e.Skip("this pool does not record the size of logical blocks")
		}
		for _, bytes := range []volume.Size{-512, 1, 511, 513, 1000, 4097} {
			spec := e.spec("odd", size)
			spec.BlockBytes = bytes
			_, err := e.p.Create(e.Context(), spec)
			e.is("Create", err, volume.Invalid)
		}
		spec := e.from(volume.FromVolume, "a", "b", 0)
		spec.BlockBytes = 2 * v.BlockBytes
		_, err := e.p.Create(e.Context(), spec)
		e.is("Create", err, volume.Invalid)
		spec.BlockBytes = v.BlockBytes
		e.make(spec)
		if names := e.names(); len(names) != 2 {
			e.Errorf("List answered %v", names)
		}
	}},
}
