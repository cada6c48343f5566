package identity_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/volume"
)

func at(create bool) identity.Place {
	return identity.Place{Pool: "fast", Node: "n1", Kind: identity.LoopDirectory, Where: `directory "/srv/fast"`, Create: create}
}

func keep(t *testing.T, s identity.Store, i identity.Identity) (release func() error) {
	t.Helper()
	release, err := s.Keep(identity.Known{Pool: i, Where: "there"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { release() })
	return release
}

// Each line of the table is one thing that can be at a pool's place.
func TestDecision(t *testing.T) {
	mine := identity.New(at(false), identity.Made)
	other := identity.New(at(false), identity.Made)
	with := func(change func(*identity.Identity)) identity.Found {
		i := mine
		change(&i)
		return identity.Found{Identity: &i}
	}
	pool := identity.Found{Identity: &mine}
	for what, c := range map[string]struct {
		known  *identity.Identity
		found  identity.Found
		create bool
		want   identity.Decision
		says   string
	}{
		"nothing":                                {says: "create: true"},
		"nothing, and one is to be made":         {create: true, want: identity.Make},
		"one of an earlier release":              {found: identity.Found{Earlier: true}, want: identity.Adopt},
		"the pool":                               {found: pool, want: identity.Open},
		"the pool, known":                        {known: &mine, found: pool, want: identity.Open},
		"the pool, and create":                   {known: &mine, found: pool, create: true, want: identity.Open},
		"nothing, known":                         {known: &mine, says: "--forget fast"},
		"nothing, known, and create":             {known: &mine, create: true, says: "--forget fast"},
		"one of an earlier release, known":       {known: &mine, found: identity.Found{Earlier: true}, create: true, says: mine.ID},
		"another one of that name, known":        {known: &other, found: pool, create: true, says: other.ID},
		"another one of that name, and its id":   {known: &other, found: pool, says: mine.ID},
		"that of another node":                   {found: with(func(i *identity.Identity) { i.Node = "n2" }), create: true, says: `node "n2"`},
		"another pool":                           {found: with(func(i *identity.Identity) { i.Pool = "slow" }), create: true, says: `pool "slow"`},
		"one that keeps its volumes another way": {found: with(func(i *identity.Identity) { i.Kind = identity.LoopFilesystem }), create: true, says: "loop/filesystem"},
	} {
		s := identity.Store{Directory: t.TempDir()}
		if c.known != nil {
			keep(t, s, *c.known)
		}
		got, err := s.Decide(at(c.create), c.found)
		switch {
		case c.says == "" && (err != nil || got != c.want):
			t.Errorf("%s: %q, %v; want %q", what, got, err, c.want)
		case c.says != "" && (!volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %q, %v; want a refusal with %q", what, got, err, c.says)
		}
	}
}

// A copy whose name was changed by hand has still the id of the first.
func TestACopyIsFoundByItsID(t *testing.T) {
	s := identity.Store{Directory: t.TempDir()}
	first := identity.New(at(false), identity.Made)
	first.Pool = "slow"
	keep(t, s, first)
	copied := first
	copied.Pool = "fast"
	if got, err := s.Decide(at(true), identity.Found{Identity: &copied}); !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), `pool "slow"`) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestForgetting(t *testing.T) {
	s := identity.Store{Directory: filepath.Join(t.TempDir(), "not", "there", "yet")}
	for _, name := range []string{"fast", "../fast"} {
		if _, err := s.Forget(name); err == nil {
			t.Errorf("Forget(%q) of nothing is fine", name)
		}
	}
	i := identity.New(at(false), identity.Made)
	release := keep(t, s, i)
	if _, err := s.Forget("fast"); !volume.Is(err, volume.InUse) {
		t.Errorf("Forget of an open pool: %v", err)
	}
	if k, err := s.Known("fast"); err != nil || k == nil || k.Pool != i {
		t.Errorf("Known = %v, %v; want %v", k, err, i)
	}
	release()
	if text, err := s.Forget("fast"); err != nil || !strings.Contains(string(text), i.ID) {
		t.Errorf("Forget = %s, %v", text, err)
	}
	if k, err := s.Known("fast"); err != nil || k != nil {
		t.Errorf("a forgotten pool is known: %v, %v", k, err)
	}
}

// What cannot be read is not the same as nothing.
func TestDamage(t *testing.T) {
	s := identity.Store{Directory: t.TempDir()}
	keep(t, s, identity.New(at(false), identity.Made))()
	path := filepath.Join(s.Directory, ".known", "fast")
	for _, text := range []string{"", "{", "{}", `{"pool": {"version": 9, "id": "a", "node": "n1", "pool": "fast", "kind": "loop/directory"}}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Decide(at(true), identity.Found{}); !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), "--forget fast") {
			t.Errorf("known is %q: %v", text, err)
		}
		if i, err := identity.Parse([]byte(text)); !volume.Is(err, volume.Unavailable) {
			t.Errorf("Parse(%q) = %v, %v", text, i, err)
		}
	}
	if _, err := s.Forget("fast"); err != nil {
		t.Error(err)
	}
}
