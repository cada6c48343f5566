package pooltest

import (
	"bytes"
	"fmt"
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
			device := e.attach(name)
			e.writeDevice(device, name, 0)
			if v := e.get(name); v.Device != device || !bytes.HasPrefix(e.read(device), []byte(name)) {
				e.Errorf("%s is attached as %s, and Get answered %+v", name, device, v)
			}
			e.detach(name)
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
			{volume.Block, 0, volume.Block},
			{volume.Block, 0, volume.Block},
			{volume.Used, volume.InUse, volume.Block},
			{volume.Formatting, volume.InUse, volume.Block},
			{volume.Fresh, volume.InUse, volume.Block},
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
