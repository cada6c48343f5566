package pooltest

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/volume"
)

var createTests = []test{
	{name: "a new volume is listed, found, and as large as asked", run: func(e *env) {
		v := e.create("a")
		if v.ID != e.id("a") || v.Size < size || v.Mark != volume.Fresh || v.Attached() || v.Created.IsZero() || v.Source != nil {
			e.Errorf("Create answered %+v", v)
		}
		if got := e.get("a"); got.ID != v.ID || got.Size != v.Size || !got.Created.Equal(v.Created) || got.Mark != v.Mark {
			e.Errorf("Get answered %+v, Create %+v", got, v)
		}
		if got := e.names(); !slices.Equal(got, []string{"a"}) {
			e.Errorf("List answered %v", got)
		}
	}},
	{name: "what the spec says is kept", run: func(e *env) {
		spec := e.spec("a", 0)
		spec.Size = volume.Range{RequiredBytes: size, LimitBytes: size}
		spec.FSType, spec.Ephemeral = volume.Ext4, true
		spec.Parameters = volume.Parameters{Pool: e.p.Name(), MkfsOptions: "-m 1"}
		spec.Claim = volume.Claim{Namespace: "shop", Name: "orders", PV: "pvc-1"}
		e.make(spec)
		got := e.get("a")
		if got.Size != size || got.FSType != spec.FSType || !got.Ephemeral || got.Parameters != spec.Parameters || got.Claim != spec.Claim {
			e.Errorf("Get answered %+v for %+v", got, spec)
		}
	}},
	{name: "made again it is the same volume", run: func(e *env) {
		first, again := e.create("a"), e.create("a")
		if first.Size != again.Size || !first.Created.Equal(again.Created) || len(e.names()) != 1 {
			e.Errorf("the first Create answered %+v, the second %+v", first, again)
		}
	}},
	{name: "made again otherwise is Exists", run: func(e *env) {
		e.create("a")
		for what, change := range map[string]func(*volume.Spec){
			"larger":     func(s *volume.Spec) { s.Size.RequiredBytes = 2 * size },
			"smaller":    func(s *volume.Spec) { s.Size = volume.Range{LimitBytes: size / 2} },
			"parameters": func(s *volume.Spec) { s.Parameters.MkfsOptions = "-m 5" },
			"ephemeral":  func(s *volume.Spec) { s.Ephemeral = true },
			"source":     func(s *volume.Spec) { s.Source = &volume.Source{Kind: volume.FromVolume, ID: e.id("b")} },
		} {
			spec := e.spec("a", size)
			change(&spec)
			_, err := e.p.Create(e.Context(), spec)
			e.is("Create "+what, err, volume.Exists)
		}
		if got := e.get("a"); got.Size != size {
			e.Errorf("the volume has %d bytes after refused calls", got.Size)
		}
	}},
	{name: "it reads as zeros", run: func(e *env) {
		e.create("a")
		e.holds("a", "", 0)
	}},
	{name: "a size nobody asked for is the default, or the limit", run: func(e *env) {
		spec := e.spec("a", 0)
		spec.Size.LimitBytes = size + 1
		if v := e.make(spec); v.Size > size+1 || v.Size < size/2 {
			e.Errorf("Create answered %d bytes", v.Size)
		}
	}},
	{name: "no size that fits is OutOfRange and leaves nothing", run: func(e *env) {
		for what, r := range map[string]volume.Range{
			"between two units": {RequiredBytes: size + 1, LimitBytes: size + 2},
			"limit below":       {RequiredBytes: size, LimitBytes: size - 1},
			"limit of a byte":   {LimitBytes: 1},
		} {
			spec := e.spec("a", 0)
			spec.Size = r
			_, err := e.p.Create(e.Context(), spec)
			e.is(what, err, volume.OutOfRange)
		}
		if got := e.names(); len(got) != 0 {
			e.Errorf("List answered %v", got)
		}
	}},
	{name: "the least size of a file system is kept", run: func(e *env) {
		spec := e.spec("a", 0)
		spec.Size = volume.Range{RequiredBytes: size, LimitBytes: size}
		spec.FSType = volume.XFS
		_, err := e.p.Create(e.Context(), spec)
		e.is("Create", err, volume.OutOfRange)
	}},
	{name: "lists have pages in the order of names", run: func(e *env) {
		want := []string{}
		for i := range 7 {
			name := fmt.Sprintf("v%d", (i*3)%7)
			spec := e.spec(name, 1*volume.MiB)
			e.make(spec)
			want = append(want, name)
		}
		slices.Sort(want)
		got, after := []string{}, ""
		for {
			volumes, err := e.p.List(e.Context(), after, 3)
			e.ok("List", err)
			if len(volumes) == 0 {
				break
			}
			if len(volumes) > 3 {
				e.Fatalf("List of 3 answered %d", len(volumes))
			}
			for _, v := range volumes {
				got = append(got, v.ID.Name)
			}
			after = got[len(got)-1]
		}
		if !slices.Equal(got, want) {
			e.Errorf("the pages have %v, want %v", got, want)
		}
	}},
	{name: "IDs of another node or pool are not found", run: func(e *env) {
		e.create("a")
		for _, id := range []volume.ID{
			{Node: "another", Pool: e.p.Name(), Name: "a"},
			{Node: e.o.Node, Pool: "another", Name: "a"},
			e.id("b"),
		} {
			_, err := e.p.Get(e.Context(), id)
			e.is("Get "+id.String(), err, volume.NotFound)
			_, err = e.p.Attach(e.Context(), id, false)
			e.is("Attach "+id.String(), err, volume.NotFound)
			_, err = e.p.Expand(e.Context(), id, atLeast(2*size))
			e.is("Expand "+id.String(), err, volume.NotFound)
			e.is("Mark "+id.String(), e.p.Mark(e.Context(), id, volume.Used), volume.NotFound)
			e.ok("Delete "+id.String(), e.p.Delete(e.Context(), id))
			e.ok("Detach "+id.String(), e.p.Detach(e.Context(), id))
		}
		if got := e.names(); !slices.Equal(got, []string{"a"}) {
			e.Errorf("List answered %v", got)
		}
	}},
	{name: "every name that a handle can carry can be made", run: func(e *env) {
		for _, name := range []string{"A", "0", "a.b_c-d", "image", "volume.json", strings.Repeat("x", volume.MaxNameBytes), "a..", "snapshot"} {
			e.make(e.spec(name, 1*volume.MiB))
			e.write(name, "x", 0)
			e.holds(name, "x", 0)
			e.ok("Delete", e.p.Delete(e.Context(), e.id(name)))
		}
	}},
	{name: "the mark moves forward only", run: func(e *env) {
		e.create("a")
		for _, step := range []struct {
			to   volume.Mark
			kind volume.Kind
			want volume.Mark
		}{
			{volume.Fresh, 0, volume.Fresh},
			{volume.Formatting, 0, volume.Formatting},
			{volume.Formatting, 0, volume.Formatting},
			{volume.Fresh, volume.InUse, volume.Formatting},
			{volume.Used, 0, volume.Used},
			{volume.Used, 0, volume.Used},
			{volume.Formatting, volume.InUse, volume.Used},
			{"nonsense", volume.InUse, volume.Used},
		} {
			err := e.p.Mark(e.Context(), e.id("a"), step.to)
			if step.kind != 0 {
				e.is("Mark "+string(step.to), err, step.kind)
			} else {
				e.ok("Mark "+string(step.to), err)
			}
			if got := e.get("a").Mark; got != step.want {
				e.Fatalf("after Mark(%s) the mark is %s, want %s", step.to, got, step.want)
			}
		}
	}},
}

var removeTests = []test{
	{name: "a deleted volume is gone and its space is back", run: func(e *env) {
		before := e.status().FreeBytes
		e.create("a")
		if during := e.status().FreeBytes; during > before-size+e.o.Slack {
			e.Errorf("%d bytes are free beside a volume of %d, %d were before", during, size, before)
		}
		e.ok("Delete", e.p.Delete(e.Context(), e.id("a")))
		_, err := e.p.Get(e.Context(), e.id("a"))
		e.is("Get", err, volume.NotFound)
		e.free(before)
		e.ok("Delete again", e.p.Delete(e.Context(), e.id("a")))
	}},
	{name: "an attached volume is InUse and stays whole", run: func(e *env) {
		e.create("a")
		device := e.attach("a")
		e.writeDevice(device, "kept", 0)
		e.is("Delete", e.p.Delete(e.Context(), e.id("a")), volume.InUse)
		e.detach("a")
		e.holds("a", "kept", 0)
		e.ok("Delete", e.p.Delete(e.Context(), e.id("a")))
	}},
	{name: "the next volume does not read what the last one wrote", run: func(e *env) {
		for range 3 {
			e.create("a")
			e.holds("a", "", 0)
			e.write("a", strings.Repeat("secret", 300_000), 4096)
			e.ok("Delete", e.p.Delete(e.Context(), e.id("a")))
		}
	}},
}

var attachTests = []test{
	{name: "the device is as large as the volume and keeps what is written", run: func(e *env) {
		e.create("a")
		e.write("a", "hello", size-4096)
		e.holds("a", "hello", size-4096)
	}},
	{name: "attached again it is the same device, and Get and List name it", run: func(e *env) {
		e.create("a")
		e.create("b")
		device := e.attach("a")
		defer e.detach("a")
		if again := e.attach("a"); again != device {
			e.Errorf("Attach answered %s, then %s", device, again)
		}
		volumes, err := e.p.List(e.Context(), "", 0)
		e.ok("List", err)
		if v := e.get("a"); v.Device != device || v.ReadOnly || volumes[0].Device != device || volumes[1].Attached() {
			e.Errorf("Get answered %+v, List %+v", v, volumes)
		}
	}},
	{name: "attached otherwise is Exists", run: func(e *env) {
		e.create("a")
		e.attach("a")
		defer e.detach("a")
		_, err := e.p.Attach(e.Context(), e.id("a"), true)
		e.is("Attach read-only", err, volume.Exists)
	}},
	{name: "a read-only device refuses writes, and the next one does not", run: func(e *env) {
		e.create("a")
		e.write("a", "kept", 0)
		device, err := e.p.Attach(e.Context(), e.id("a"), true)
		e.ok("Attach", err)
		if v := e.get("a"); !v.ReadOnly {
			e.Errorf("Get answered %+v", v)
		}
		if isBlockDevice(device) {
			f, err := os.OpenFile(device, os.O_RDWR, 0)
			if err == nil {
				_, err = f.WriteAt([]byte("lost"), 0)
				if err == nil {
					err = f.Sync()
				}
				_ = f.Close()
			}
			if err == nil {
				e.Errorf("%s took a write", device)
			}
		}
		e.detach("a")
		e.holds("a", "kept", 0)
		e.write("a", "more", 0)
		e.holds("a", "more", 0)
	}},
	{name: "detached it is gone, and again is nil", run: func(e *env) {
		e.create("a")
		e.attach("a")
		e.detach("a")
		if v := e.get("a"); v.Attached() {
			e.Errorf("Get answered %+v", v)
		}
		e.detach("a")
		e.detach("nobody")
	}},
	{name: "a device that is held is InUse", run: func(e *env) {
		e.create("a")
		device := e.attach("a")
		if !isBlockDevice(device) {
			e.detach("a")
			e.Skip("the device of this pool is a file, which the kernel does not guard")
		}
		f, err := os.OpenFile(device, os.O_RDWR|os.O_EXCL, 0)
		e.ok("open the device", err)
		e.is("Detach", e.p.Detach(e.Context(), e.id("a")), volume.InUse)
		e.ok("close", f.Close())
		if got := e.attach("a"); got == "" {
			e.Error("Attach answered no device")
		}
		e.detach("a")
	}},
	{name: "many volumes are attached at once, each with its own bytes", run: func(e *env) {
		const n = 12
		devices := map[string]bool{}
		for i := range n {
			name := fmt.Sprintf("v%d", i)
			e.make(e.spec(name, 1*volume.MiB))
			device := e.attach(name)
			devices[device] = true
			e.writeDevice(device, name, 0)
		}
		if len(devices) != n {
			e.Errorf("%d volumes have %d devices", n, len(devices))
		}
		for i := range n {
			name := fmt.Sprintf("v%d", i)
			e.detach(name)
			e.holds(name, name, 0)
		}
	}},
}

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
