package lvm

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/volume"
)

// legalTag is what lvm(8) says of tags.
var legalTag = regexp.MustCompile(`^[A-Za-z0-9_+./=!:&#-]+$`) // and at most 1024 bytes

func TestRecordsComeBackFromTags(t *testing.T) {
	id := volume.ID{Node: "n1", Pool: "fast", Name: "a"}
	for what, r := range map[string]volume.Record{
		"nothing":    {Version: volume.RecordVersion, Created: time.Unix(1, 2).UTC()},
		"a snapshot": {Version: volume.RecordVersion, Created: time.Unix(1, 2).UTC(), Volume: &id, FSType: volume.XFS},
		"much": {Version: volume.RecordVersion, Created: time.Unix(1e9, 999999999).UTC(), FSType: volume.Ext4, Ephemeral: true,
			Source:     &volume.Source{Kind: volume.FromVolume, ID: id},
			Parameters: volume.Parameters{Pool: "fast", MkfsOptions: strings.Repeat("-i 8192 ", 500)},
			Claim:      volume.Claim{Namespace: "größe ,\"\\", Name: "orders", PV: "pvc-1"}},
	} {
		tags, err := recordTags(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range tags {
			if !legalTag.MatchString(tag) || len(tag) > 1024 {
				t.Errorf("%s: LVM takes no tag %q", what, tag)
			}
		}
		for i, j := 0, len(tags)-1; i < j; i, j = i+1, j-1 { // LVM keeps no order
			tags[i], tags[j] = tags[j], tags[i]
		}
		got, err := readRecord(append([]string{"theirs"}, tags...))
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%s came back as %+v, %v", what, got, err)
		}
		if len(tags) > 1 {
			if got, err := readRecord(tags[1:]); !volume.Is(err, volume.Internal) {
				t.Errorf("%s without its last piece: %+v, %v", what, got, err)
			}
		}
	}
	long := volume.Record{Version: volume.RecordVersion, Parameters: volume.Parameters{MkfsOptions: strings.Repeat("x", 1<<16)}}
	if _, err := recordTags(long); !volume.Is(err, volume.Invalid) {
		t.Errorf("a record that is too long: %v", err)
	}
	for _, tags := range [][]string{nil, {tagRecord + "0=!"}, {tagRecord + "0=bnVsbA"}, {tagRecord + "0=eyJ2ZXJzaW9uIjo5fQ"}} {
		if r, err := readRecord(tags); !volume.Is(err, volume.Internal) {
			t.Errorf("tags %q: %+v, %v", tags, r, err)
		}
	}
}

func FuzzTags(f *testing.F) {
	f.Add("ns", "claim", "-m 1", "")
	f.Fuzz(func(t *testing.T, namespace, name, options, tag string) {
		r := volume.Record{Version: volume.RecordVersion, Claim: volume.Claim{Namespace: namespace, Name: name}, Parameters: volume.Parameters{MkfsOptions: options}}
		tags, err := recordTags(r)
		if err != nil {
			return
		}
		for _, tag := range tags {
			if !legalTag.MatchString(tag) || len(tag) > 1024 {
				t.Fatalf("tag %q", tag)
			}
		}
		if got, err := readRecord(tags); err != nil || (got.Claim.Name != name && strings.ToValidUTF8(name, "") == name) {
			t.Fatalf("%+v, %v", got, err)
		}
		if _, err := readRecord([]string{tag, tagRecord + "0=" + tag}); err != nil && !volume.Is(err, volume.Internal) {
			t.Fatal(err)
		}
	})
}
