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
	all := []volume.Mark{volume.Fresh, volume.Formatting, volume.Used}
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
		"-m 1":      func(s *volume.Spec) { s.Parameters.MkfsOptions = "-m 1" },
		"ephemeral": func(s *volume.Spec) { s.Ephemeral = true },
	} {
		changed := spec
		change(&changed)
		if err := v.Fits(changed); !volume.Is(err, volume.Exists) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), id.String()) {
			t.Errorf("the error that should say %q: %v", says, err)
		}
	}
	spec.FSType = ""
	if err := v.Fits(spec); err != nil {
		t.Errorf("a caller that does not mind the file system: %v", err)
	}
}
