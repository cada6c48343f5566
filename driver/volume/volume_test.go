package volume_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/volume"
)

func TestTheKindOfAnErrorOutlivesWrapping(t *testing.T) {
	cause := volume.Errorf(volume.Full, "pool %q is full: %w", "fast", fs.ErrInvalid)
	wrapped := fmt.Errorf("create: %w", cause)
	if volume.KindOf(wrapped) != volume.Full || !volume.Is(wrapped, volume.Full) || !errors.Is(wrapped, fs.ErrInvalid) {
		t.Errorf("%v has kind %s", wrapped, volume.KindOf(wrapped))
	}
	if outer := volume.Errorf(volume.Busy, "again: %w", cause); volume.KindOf(outer) != volume.Busy {
		t.Errorf("%v has kind %s", outer, volume.KindOf(outer))
	}
	if volume.KindOf(fs.ErrExist) != volume.Internal || volume.Is(nil, volume.Internal) {
		t.Error("an error without a kind is not Internal, or nil is")
	}
}

func TestMarksMoveForwardOnly(t *testing.T) {
	all := []volume.Mark{volume.Fresh, volume.Formatting, volume.Used, volume.Block}
	for i, from := range all {
		for j, to := range all {
			if got := from.Follows(to); got != (j >= i) {
				t.Errorf("%s may become %s: %t", from, to, got)
			}
		}
		if from.Follows("") || volume.Mark("").Follows(from) {
			t.Errorf("an unknown mark is accepted beside %s", from)
		}
	}
}

func TestAVolumeFitsOnlyWhatItWasMadeFor(t *testing.T) {
	id := volume.ID{Node: "n", Pool: "p", Name: "v"}
	source := &volume.Source{Kind: volume.FromSnapshot, ID: volume.ID{Node: "n", Pool: "p", Name: "s"}}
	v := volume.Volume{ID: id, Size: 100, FSType: volume.Ext4, Source: source}
	spec := volume.Spec{ID: id, Size: volume.Range{RequiredBytes: 100, LimitBytes: 100}, FSType: volume.Ext4, Source: &volume.Source{Kind: source.Kind, ID: source.ID}}
	if err := v.Fits(spec); err != nil {
		t.Fatal(err)
	}
	for says, change := range map[string]func(*volume.Spec){
		"bytes": func(s *volume.Spec) { s.Size = volume.Range{RequiredBytes: 101} },
		"xfs":   func(s *volume.Spec) { s.FSType = volume.XFS },
		"none":  func(s *volume.Spec) { s.Source = nil },
		"n/p/another": func(s *volume.Spec) {
			s.Source = &volume.Source{Kind: source.Kind, ID: volume.ID{Node: "n", Pool: "p", Name: "another"}}
		},
		"-m 1":                   func(s *volume.Spec) { s.Parameters.MkfsOptions = "-m 1" },
		"pool":                   func(s *volume.Spec) { s.Parameters.Pool = "fast" },
		"-L xxx":                 func(s *volume.Spec) { s.Parameters.MkfsOptions = "-L " + strings.Repeat("x", 4000) },
		"allowBlockAsFilesystem": func(s *volume.Spec) { s.Parameters.AllowBlockAsFilesystem = true },
		"ephemeral":              func(s *volume.Spec) { s.Ephemeral = true },
	} {
		changed := spec
		change(&changed)
		if err := v.Fits(changed); !volume.Is(err, volume.Exists) || len(err.Error()) > 512 || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), id.String()) {
			t.Errorf("the error that should say %q: %v", says, err)
		}
	}
	spec.FSType = ""
	if err := v.Fits(spec); err != nil {
		t.Errorf("a caller that does not mind the file system: %v", err)
	}
}

func TestSnapshotsFitOnlyWhatTheyWereTakenFor(t *testing.T) {
	id := func(name string) volume.ID { return volume.ID{Node: "n", Pool: "p", Name: name} }
	spec := volume.SnapshotSpec{ID: id("g"), Group: true}
	var taken []volume.Snapshot
	for i := range 1000 {
		v := id(fmt.Sprintf("volume-%d", i))
		spec.Volumes = append(spec.Volumes, v)
		taken = append(taken, volume.Snapshot{ID: id(volume.MemberName("g", v.Name)), Volume: v, Group: "g"})
	}
	if err := volume.FitsSpec(taken, spec); err != nil {
		t.Error(err)
	}
	without := volume.SnapshotSpec{ID: id("g"), Group: true, Volumes: spec.Volumes[8:]}
	one := volume.SnapshotSpec{ID: id("g"), Volumes: spec.Volumes[:1]}
	for says, c := range map[string]struct {
		existing []volume.Snapshot
		spec     volume.SnapshotSpec
	}{
		"no snapshot of volume \"n/p/volume-999\"":                            {taken[:999], spec},
		"volume \"n/p/volume-7\", which is not asked for":                     {taken[7:], without},
		"volume \"n/p/other\", which is not asked for":                        {append([]volume.Snapshot{{Volume: id("other"), Group: "g"}}, taken...), spec},
		"the name belongs to a member of group \"g\"":                         {taken[:1], one},
		"snapshot \"n/p/g\" exists already, taken of volume \"n/p/volume-1\"": {[]volume.Snapshot{{Volume: id("volume-1")}}, one},
	} {
		if err := volume.FitsSpec(c.existing, c.spec); !volume.Is(err, volume.Exists) || !strings.Contains(err.Error(), says) || len(err.Error()) > 512 {
			t.Errorf("the error that should say %q: %.300v", says, err)
		}
	}
}
