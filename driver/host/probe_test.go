package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/volume"
)

// scripted is a runner that says what it was told to say of blkid.
type scripted struct {
	out  string
	code int
	say  string
}

func (s scripted) Run(context.Context, Command) ([]byte, error) {
	if s.code != 0 {
		return []byte(s.out), &ExitError{Command: "blkid", Code: s.code, Stderr: s.say}
	}
	return []byte(s.out), nil
}

func TestProbeBelievesOnlyWhatIsCertain(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, size int64, data string, at int64) string {
		path := filepath.Join(dir, name)
		f, err := os.Create(path)
		if err == nil {
			_, err = f.WriteAt([]byte(data), at)
			err = errors.Join(err, f.Truncate(size), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	blank := file("blank", 8<<20, "", 0)
	for what, c := range map[string]struct {
		runner Runner
		path   string
		want   Signature
		fails  bool
	}{
		"blank":                       {scripted{code: 2}, blank, Signature{Blank: true}, false},
		"data at the beginning":       {scripted{code: 2}, file("begin", 8<<20, "x", 0), Signature{}, false},
		"data at the end":             {scripted{code: 2}, file("end", 8<<20, strings.Repeat("x", 4096), 8<<20-4096), Signature{}, false},
		"smaller than both ends":      {scripted{code: 2}, file("small", 4096, "x", 4095), Signature{}, false},
		"empty":                       {scripted{code: 2}, file("empty", 0, "", 0), Signature{}, true},
		"not there":                   {scripted{code: 2}, filepath.Join(dir, "nothing"), Signature{}, true},
		"blkid complains":             {scripted{code: 2, say: "error: /dev/x: Input/output error"}, blank, Signature{}, true},
		"blkid says nothing and 2":    {scripted{code: 2, out: "DEVNAME=/dev/x\n"}, blank, Signature{}, true},
		"blkid is of two minds":       {scripted{code: 8}, blank, Signature{}, true},
		"blkid was called wrong":      {scripted{code: 4}, blank, Signature{}, true},
		"blkid was killed":            {scripted{code: -1}, blank, Signature{}, true},
		"blkid ends well with nought": {scripted{}, blank, Signature{}, true},
		"a file system":               {scripted{out: "DEVNAME=/dev/x\nUUID=1-2\nTYPE=ext4\n"}, blank, Signature{Type: "ext4", UUID: "1-2"}, false},
		"a partition table":           {scripted{out: "PTTYPE=gpt\n"}, blank, Signature{Type: "partitions"}, false},
	} {
		t.Run(what, func(t *testing.T) {
			got, err := New(c.runner).Probe(t.Context(), c.path)
			if got != c.want || (err != nil) != c.fails {
				t.Errorf("got %+v, %v", got, err)
			}
			if err != nil && !strings.Contains(err.Error(), c.path) {
				t.Errorf("the error does not name the device: %v", err)
			}
		})
	}
}

// Whatever blkid prints, a signature that is no error names what was found, and is never blank.
func FuzzSignature(f *testing.F) {
	f.Add([]byte("DEVNAME=/dev/x\nUUID=1-2\nTYPE=ext4\nPTTYPE=gpt\n"))
	f.Add([]byte("PTTYPE=dos"))
	f.Add([]byte("TYPE"))
	f.Fuzz(func(t *testing.T, out []byte) {
		s, err := parseSignature("/dev/x", out)
		if s.Blank || (err == nil) == (s.Type == "") {
			t.Errorf("%q is %+v, %v", out, s, err)
		}
	})
}

func TestExtendedOptionsOfTheCallerAreKept(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "-E nodiscard"},
		{"-m 1", "-m 1 -E nodiscard"},
		{"-E stride=4 -m 1", "-E nodiscard,stride=4 -m 1"},
		{"-Estride=4", "-Enodiscard,stride=4"},
	} {
		if got := strings.Join(withExtended(strings.Fields(c.args), "nodiscard"), " "); got != c.want {
			t.Errorf("%q became %q, want %q", c.args, got, c.want)
		}
	}
}

func TestStatisticsOfABlockDevice(t *testing.T) {
	for text, want := range map[string]uint64{"  1 2 3 4 55 6 7 8 9 10 11 7 0 0 0 0 0": 62, "1 2 3 4 55 6 7 8 9 10 11": 55} {
		if got, err := parseWrites(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1 2 3", "1 2 3 4 x 6 7 8 9 10 11", "1 2 3 4 5 6 7 8 9 10 11 x"} {
		if _, err := parseWrites(text); !volume.Is(err, volume.Internal) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
