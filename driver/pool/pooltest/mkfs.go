package pooltest

import (
	"fmt"
	"strings"

	"github.com/loam-storage/loam/driver/volume"
)

// withMkfs is a spec of a volume that becomes an ext4, made with options.
func (e *env) withMkfs(name, options string) volume.Spec {
	spec := e.spec(name, size)
	spec.Mkfs, spec.Parameters.MkfsOptions = volume.Ext4, options
	return spec
}

var mkfsTests = []test{
	{name: "options of mkfs that never work are Invalid, with the reason, and nothing is made", run: func(e *env) {
		block := e.create("before").BlockBytes
		free := e.status().FreeBytes
		bad := map[string]string{"-I 8192": "inode size", "-N 100000000": "too big", "-O ^extents,64bit": "64-bit", "-O none": "ext2"}
		if block >= 2048 {
			bad[fmt.Sprintf("-b %d", block/2)] = "too small for device"
		}
		for options, says := range bad {
			for range 2 {
				_, err := e.p.Create(e.Context(), e.withMkfs("a", options))
				e.is("Create with "+options, err, volume.Invalid)
				if !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), volume.KeyMkfsOptions) || !strings.Contains(err.Error(), e.id("a").String()) {
					e.Errorf("Create with %q says: %v", options, err)
				}
			}
		}
		if names := e.names(); len(names) != 1 {
			e.Errorf("volumes are %v", names)
		}
		e.free(free)
	}},
	{name: "options of mkfs that work are no hindrance", run: func(e *env) {
		block := e.create("before").BlockBytes
		for i, options := range []string{"-m 1 -i 8192", fmt.Sprintf("-b %d", max(1024, block))} {
			spec := e.withMkfs(fmt.Sprint("a", i), options)
			if v := e.make(spec); v.Mark != volume.Fresh || v.Parameters.MkfsOptions != options {
				e.Errorf("Create answered %+v", v)
			}
			e.make(spec) // again
		}
	}},
	{name: "options of mkfs are not tried where none is run, or where the volume is there already", run: func(e *env) {
		e.create("source")
		block := e.withMkfs("block", "-I 8192")
		block.Mkfs = ""
		e.make(block)
		block.Mkfs = volume.Ext4 // asked again otherwise, which is no other volume
		e.make(block)
	}},
	{name: "options of mkfs are not tried for a copy", snapshots: true, run: func(e *env) {
		e.create("source")
		spec := e.from(volume.FromVolume, "source", "copy", 0)
		spec.Mkfs, spec.Parameters.MkfsOptions = volume.Ext4, "-I 8192"
		e.make(spec)
	}},
}
