package fleet_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/loam-storage/loam/controller/fleet"
)

// A node that somebody has taken over may list what it likes of its own. The lists of all others end, and fit together.
func TestPageThatIsNoneStopsNobodysList(t *testing.T) {
	for what, change := range map[string]func(page *csi.ListVolumesResponse){
		"more than asked for": func(page *csi.ListVolumesResponse) {
			for i := range 10 {
				e := proto.CloneOf(page.Entries[0])
				e.Volume.VolumeId = fmt.Sprintf("b/default/w%d", i)
				page.Entries = append(page.Entries, e)
			}
		},
		"backwards": func(page *csi.ListVolumesResponse) {
			page.Entries = append(page.Entries, page.Entries[0])
		},
		"a token that leads to itself": func(page *csi.ListVolumesResponse) { page.NextToken = "b/default/v" },
		"tokens without entries": func(page *csi.ListVolumesResponse) {
			page.Entries, page.NextToken = nil, page.NextToken+"x"
		},
		"a token of another node": func(page *csi.ListVolumesResponse) { page.NextToken = "c/default/v" },
	} {
		f, nodes := three(t, fleet.Config{})
		for _, name := range []string{"a", "b", "c"} {
			if _, err := f.CreateVolume(t.Context(), request("v"+name, name)); err != nil {
				t.Fatal(err)
			}
		}
		nodes["b"].lying(lie(change))
		for limit := int32(1); limit < 5; limit++ {
			var got []string
			for token := ""; ; {
				page, err := f.ListVolumes(t.Context(), &csi.ListVolumesRequest{MaxEntries: limit, StartingToken: token})
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if len(page.GetEntries()) > int(limit) || len(got) > 10 {
					t.Fatalf("%s: in pages of %d one has %d entries, behind %d", what, limit, len(page.GetEntries()), len(got))
				}
				for _, e := range page.GetEntries() {
					got = append(got, e.GetVolume().GetVolumeId())
				}
				if token = page.GetNextToken(); token == "" {
					break
				}
			}
			if all := strings.Join(got, " "); !strings.HasPrefix(all, "a/default/va") || !strings.HasSuffix(all, "c/default/vc") {
				t.Errorf("%s: in pages of %d there is %s", what, limit, all)
			}
		}
	}
}

// What a node says in an error ends in logs, events and terminals.
func TestErrorOfANodeIsLegible(t *testing.T) {
	f, nodes := three(t, fleet.Config{})
	nodes["a"].hook(nil, func(method string) error {
		if strings.HasSuffix(method, "CreateVolume") {
			return status.Error(codes.OutOfRange, "too \x1b[2Jlarge\nI0101 00:00:00 all is well "+strings.Repeat("!", 100_000))
		}
		return nil
	})
	_, err := f.CreateVolume(t.Context(), request("v", "a"))
	if text := status.Convert(err).Message(); status.Code(err) != codes.OutOfRange || !strings.HasPrefix(text, "too  [2Jlarge I0101") || len(text) > 5000 {
		t.Errorf("%s with %d bytes: %.100q", status.Code(err), len(text), text)
	}
}

// Sizes that nothing has do not make the sum of all nodes less than nothing.
func TestCapacityThatNothingHasDoesNotOverflow(t *testing.T) {
	f, nodes := three(t, fleet.Config{})
	for name, bytes := range map[string]int64{"a": math.MaxInt64, "b": math.MaxInt64 - 7, "c": -1 << 40} {
		nodes[name].lying(lie(func(r *csi.GetCapacityResponse) { r.AvailableCapacity = bytes }))
	}
	if got, err := f.GetCapacity(t.Context(), &csi.GetCapacityRequest{}); err != nil || got.GetAvailableCapacity() != math.MaxInt64 {
		t.Errorf("%v, %v", got, err)
	}
}
