package volume_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/loam-storage/loam/driver/volume"
)

func TestHandlesAreReadBackAsTheyWerePrinted(t *testing.T) {
	for _, id := range []volume.ID{
		{Node: "n", Pool: "p", Name: "v"},
		{Node: "node-7.rack.example", Pool: "fast-1", Name: "pvc-0f9c.A_b"},
		{Node: strings.Repeat("n", volume.MaxNodeBytes), Pool: strings.Repeat("p", volume.MaxPoolBytes), Name: strings.Repeat("v", volume.MaxNameBytes)},
	} {
		handle := id.String()
		if got, err := volume.ParseID(handle); err != nil || got != id {
			t.Errorf("ParseID(%q) = %v, %v", handle, got, err)
		}
		if len(handle) > 128 {
			t.Errorf("handle %q has %d bytes, CSI allows 128", handle, len(handle))
		}
	}
}

func TestWhatIsNoHandleIsNotFound(t *testing.T) {
	for _, handle := range []string{
		"", "/", "//", "a/b", "a/b/c/d", "n/p/", "n//v", "/p/v", "../../etc", "n/p/..", "n/p/.v", "n/../v", "../p/v",
		"n/P/v", "n/p_/v", "n/p/v v", "n/p/v\n", "n/p/v\x00", "-n/p/v", "n/-p/v", "n/p/-v", "n/p/vé",
		strings.Repeat("n", 59) + "/p/v", "n/" + strings.Repeat("p", 21) + "/v", "n/p/" + strings.Repeat("v", 49), strings.Repeat("x", 4096),
	} {
		if id, err := volume.ParseID(handle); !volume.Is(err, volume.NotFound) {
			t.Errorf("ParseID(%q) = %v, %v; want NotFound", handle, id, err)
		} else if len(err.Error()) > 1024 {
			t.Errorf("the error for a handle of %d bytes has %d", len(handle), len(err.Error()))
		}
	}
}

func TestNamesAreKeptWhereTheyFitAndHashedElsewhere(t *testing.T) {
	kept := []string{"pvc-8f14e45f-ceea-467f-9b7a-0d2a8e3b1c11", "a", "0", "A.b_c-d", strings.Repeat("v", 48)}
	for _, name := range kept {
		if got := volume.NameFor(name); got != name {
			t.Errorf("NameFor(%q) = %q", name, got)
		}
	}
	seen := map[string]string{}
	for _, name := range []string{"", "-a", ".a", "a/b", "a b", "ä", strings.Repeat("v", 49), strings.Repeat("v", 128), volume.NameFor("a/b"), volume.NameFor("-a"),
		volume.MemberName("g", "v"), volume.MemberName("g", "w"), volume.NameFor(volume.MemberName("g", "v"))} {
		got := volume.NameFor(name)
		if got == name || got != volume.NameFor(name) {
			t.Errorf("NameFor(%q) = %q", name, got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q have one name, %q", name, other, got)
		}
		seen[got] = name
		if _, err := volume.ParseID("n/p/" + got); err != nil {
			t.Errorf("NameFor(%q) = %q: %v", name, got, err)
		}
	}
}

// A snapshot that is asked for by the name of a group's member must not be that member.
func TestNobodyCanAskForTheNameOfAMember(t *testing.T) {
	member := volume.MemberName("g", "v")
	if got := volume.NameFor(member); got == member {
		t.Errorf("NameFor(%q) = %q", member, got)
	}
	if _, err := volume.ParseID("n/p/" + member); err != nil {
		t.Errorf("a member has no handle: %v", err)
	}
	for _, name := range []string{member + "0", member[:41], "g-" + strings.Repeat("x", 40), "i" + member[1:]} {
		if got := volume.NameFor(name); got != name {
			t.Errorf("NameFor(%q) = %q", name, got)
		}
	}
}

func TestNodeNamesFitAHandleAndALabel(t *testing.T) {
	seen := map[string]bool{}
	for _, machine := range []string{"n1", "node-7.example.com", strings.Repeat("n", 58), strings.Repeat("n", 59), strings.Repeat("n", 253), "", "-", "ä", "a b", "a/b"} {
		name := volume.NodeName(machine)
		if len(name) > volume.MaxNodeBytes || seen[name] {
			t.Errorf("NodeName(%q) = %q", machine, name)
		}
		seen[name] = true
		if _, err := volume.ParseID(name + "/p/v"); err != nil {
			t.Errorf("NodeName(%q) = %q: %v", machine, name, err)
		}
	}
	if got := volume.NodeName("node-7"); got != "node-7" {
		t.Errorf("NodeName(node-7) = %q", got)
	}
}

func TestRequestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"pvc-1": true, "ein Gerät": true, "tab\tand\nnewline": true, strings.Repeat("x", 128): true,
		"": false, strings.Repeat("x", 129): false, "a\x00": false, "a\x1f": false, "a\u0085": false, "a\x7f": false, "a\xff": false,
	} {
		if err := volume.CheckRequestName(name); (err == nil) != ok || (!ok && !volume.Is(err, volume.Invalid)) {
			t.Errorf("CheckRequestName(%q) = %v", name, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	for _, seed := range []string{"n/p/v", "../../x", "n/p/..", "n/p/h-0123456789012345678901234567890123456789"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, handle string) {
		id, err := volume.ParseID(handle)
		if err != nil {
			if !volume.Is(err, volume.NotFound) {
				t.Fatalf("ParseID(%q): kind %s", handle, volume.KindOf(err))
			}
		} else if id.String() != handle || len(handle) > 128 || strings.ContainsAny(id.Name+id.Pool+id.Node, "/\x00 ") || id.Name == ".." {
			t.Fatalf("ParseID(%q) = %+v", handle, id)
		}
		if _, err := volume.ParseID(volume.NodeName(handle) + "/p/" + volume.NameFor(handle)); err != nil {
			t.Fatalf("names made of %q: %v", handle, err)
		}
		if volume.CheckRequestName(handle) == nil && !utf8.ValidString(handle) {
			t.Fatalf("a name that is not UTF-8 was accepted: %q", handle)
		}
	})
}
