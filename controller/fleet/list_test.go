package fleet_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/loam-storage/loam/controller/fleet"
	"github.com/loam-storage/loam/driver/volume"
)

func TestListsAreOfAllNodesAndPagesFitTogether(t *testing.T) {
	f, nodes := three(t, fleet.Config{})
	newMachine(t, "d", volume.GiB).connect(t, f) // which has nothing
	var want []string
	for _, node := range []string{"a", "b", "c"} {
		for i := range 4 {
			name := fmt.Sprintf("v%d", i)
			if _, err := f.CreateVolume(t.Context(), request(node+name, node)); err != nil {
				t.Fatal(err)
			}
			want = append(want, node+"/default/"+node+name)
		}
	}
	for limit := int32(0); limit < 14; limit++ {
		var got []string
		for token := ""; ; {
			page, err := f.ListVolumes(t.Context(), &csi.ListVolumesRequest{MaxEntries: limit, StartingToken: token})
			if err != nil {
				t.Fatal(err)
			}
			if limit > 0 && len(page.GetEntries()) > int(limit) {
				t.Errorf("a page of %d has %d entries", limit, len(page.GetEntries()))
			}
			for _, e := range page.GetEntries() {
				got = append(got, e.GetVolume().GetVolumeId())
			}
			if token = page.GetNextToken(); token == "" {
				break
			}
			if page, err := f.ListVolumes(t.Context(), &csi.ListVolumesRequest{StartingToken: token}); err != nil || len(page.GetEntries()) == 0 {
				t.Errorf("in pages of %d: the token after %d leads to nothing: %v", limit, len(got), err)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("in pages of %d: %q", limit, got)
		}
	}
	// A node may leave between two pages.
	page, err := f.ListVolumes(t.Context(), &csi.ListVolumesRequest{MaxEntries: 6})
	if err != nil {
		t.Fatal(err)
	}
	nodes["b"].leave()
	rest, err := f.ListVolumes(t.Context(), &csi.ListVolumesRequest{StartingToken: page.GetNextToken()})
	if err != nil || len(rest.GetEntries()) != 4 {
		t.Errorf("%d entries, %v", len(rest.GetEntries()), err)
	}
	if _, err := f.ListVolumes(t.Context(), &csi.ListVolumesRequest{StartingToken: "nonsense"}); code(err) != codes.Aborted {
		t.Error(err)
	}
	if _, err := f.ListVolumes(t.Context(), &csi.ListVolumesRequest{MaxEntries: -1}); code(err) != codes.InvalidArgument {
		t.Error(err)
	}
}

func TestCapacityIsThatOfANodeOrOfAll(t *testing.T) {
	f, _ := three(t, fleet.Config{})
	one, err := f.GetCapacity(t.Context(), &csi.GetCapacityRequest{AccessibleTopology: topologies("b")[0]})
	if err != nil || one.GetAvailableCapacity() != 128<<20 {
		t.Errorf("%v, %v", one, err)
	}
	all, err := f.GetCapacity(t.Context(), &csi.GetCapacityRequest{})
	if err != nil || all.GetAvailableCapacity() != (64+128+96)<<20 || all.GetMaximumVolumeSize().GetValue() != 128<<20 {
		t.Errorf("%v, %v", all, err)
	}
	elsewhere, err := f.GetCapacity(t.Context(), &csi.GetCapacityRequest{AccessibleTopology: &csi.Topology{Segments: map[string]string{"zone": "x"}}})
	if err != nil || elsewhere.GetAvailableCapacity() != 0 {
		t.Errorf("%v, %v", elsewhere, err)
	}
}

// A node proves from time to time who it is, over a new connection. Who lists everything at that moment gets everything.
func TestListHasWhatIsOnANodeThatConnectsAnew(t *testing.T) {
	f, nodes := three(t, fleet.Config{})
	for _, name := range []string{"a", "b", "c"} {
		if _, err := f.CreateVolume(t.Context(), request("v"+name, name)); err != nil {
			t.Fatal(err)
		}
	}
	nodes["b"].connectsAnew(t, f, "/ListVolumes")
	page, err := f.ListVolumes(t.Context(), &csi.ListVolumesRequest{})
	if err != nil || len(page.GetEntries()) != 3 {
		t.Errorf("%v, %v", page, err)
	}
}

// connectsAnew has a machine replace its connection when it is first called by that method, which ends with the one before.
func (m *machine) connectsAnew(t *testing.T, f *fleet.Fleet, method string) {
	var once sync.Once
	m.hook(func(_ context.Context, called string) error {
		if strings.HasSuffix(called, method) {
			once.Do(func() {
				gone, conn := m.gone, m.conn
				m.join(t, f)
				gone()
				_ = conn.Close()
			})
		}
		return nil
	}, nil)
}

// A volume is made on a node whose connection was replaced since it was chosen.
func TestVolumeIsMadeOnANodeThatConnectsAnew(t *testing.T) {
	f, nodes := three(t, fleet.Config{})
	nodes["b"].connectsAnew(t, f, "/GetCapacity")
	if made, err := f.CreateVolume(t.Context(), request("v", "b")); err != nil || made.GetVolume().GetVolumeId() != "b/default/v" {
		t.Errorf("%v, %v", made, err)
	}
}
