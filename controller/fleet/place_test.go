package fleet_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/loam-storage/loam/controller/fleet"
	"github.com/loam-storage/loam/driver/volume"
)

func TestVolumeComesWhereTheTopologyPrefersItElseWhereMostRoomIs(t *testing.T) {
	f, _ := three(t, fleet.Config{})
	place := func(r *csi.CreateVolumeRequest) string {
		t.Helper()
		made, err := f.CreateVolume(t.Context(), r)
		if err != nil {
			t.Error(err)
			return ""
		}
		node, _, _ := strings.Cut(made.GetVolume().GetVolumeId(), "/")
		return node
	}
	prefers := func(name string, mib int64, requisite, preferred []string) *csi.CreateVolumeRequest {
		r := request(name, requisite...)
		r.CapacityRange.RequiredBytes = mib << 20
		if r.AccessibilityRequirements == nil {
			r.AccessibilityRequirements = &csi.TopologyRequirement{}
		}
		r.AccessibilityRequirements.Preferred = topologies(preferred...)
		return r
	}
	for _, c := range []struct {
		name                 string
		mib                  int64
		requisite, preferred []string
		want                 string
	}{
		{"most-room", 30, nil, nil, "b"},                                         // 64, 128, 96
		{"most-room-of-those", 1, []string{"a", "c"}, nil, "c"},                  // 64, 98, 96
		{"first-preferred", 1, []string{"a", "b", "c"}, []string{"a", "c"}, "a"}, // 64, 98, 95
		{"second-preferred-has-room", 90, []string{"a", "b", "c"}, []string{"a", "c", "b"}, "c"},
		{"preferred-is-no-requirement", 60, nil, []string{"c"}, "b"}, // c has 5 left
		{"preferred-outside-of-requisite", 1, []string{"a"}, []string{"b"}, "a"},
	} {
		if got := place(prefers(c.name, c.mib, c.requisite, c.preferred)); got != c.want {
			t.Errorf("%s came to %q, want %q", c.name, got, c.want)
		}
	}
	if _, err := f.CreateVolume(t.Context(), prefers("too-large", 100, nil, nil)); code(err) != codes.ResourceExhausted || !contains(err, "a: ") {
		t.Errorf("it does not say who refused: %v", err)
	}
	if _, err := f.CreateVolume(t.Context(), request("elsewhere", "d")); code(err) != codes.ResourceExhausted {
		t.Errorf("no such node: %v", err)
	}
}

// In Kubernetes the first preferred node is where the pod is to run.
func TestVolumeIsMadeWhereThePodWillBeOrNowhere(t *testing.T) {
	f, _ := three(t, fleet.Config{FirstOnly: true})
	prefers := func(name string, mib int64, nodes ...string) (string, error) {
		r := request(name, nodes...)
		r.CapacityRange.RequiredBytes = mib << 20
		r.AccessibilityRequirements.Preferred = topologies(nodes...)
		made, err := f.CreateVolume(t.Context(), r)
		return made.GetVolume().GetVolumeId(), err
	}
	if got, err := prefers("v", 50, "a", "b", "c"); err != nil || got != "a/default/v" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := prefers("w", 50, "a", "b", "c"); code(err) != codes.ResourceExhausted {
		t.Errorf("the node is full, and it came to %q, %v", got, err)
	}
	if got, err := prefers("w", 50, "d", "b", "c"); code(err) != codes.ResourceExhausted || !contains(err, "(d)") {
		t.Errorf("the node is away, and it came to %q, %v", got, err)
	}
	if got, err := prefers("w", 50, "c", "a", "b"); err != nil || got != "c/default/w" {
		t.Errorf("%q, %v", got, err)
	}
	// A copy is made beside its source, whichever node was chosen: the scheduler then follows the volume.
	if _, err := f.CreateVolume(t.Context(), request("small", "c")); err != nil {
		t.Fatal(err)
	}
	r := request("copy", "b", "a", "c")
	r.AccessibilityRequirements.Preferred = topologies("b", "a", "c")
	r.VolumeContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: "c/default/small"}}}
	if made, err := f.CreateVolume(t.Context(), r); err != nil || made.GetVolume().GetVolumeId() != "c/default/copy" {
		t.Errorf("%v, %v", made, err)
	}
}

func TestNodeWithoutThePoolIsNoCandidate(t *testing.T) {
	f := settled(fleet.Config{})
	newMachine(t, "a", volume.GiB).connect(t, f)
	newMachine(t, "b", volume.MiB*64, "default", "fast").connect(t, f)
	r := request("v")
	r.Parameters = map[string]string{"pool": "fast"}
	if made, err := f.CreateVolume(t.Context(), r); err != nil || made.GetVolume().GetVolumeId() != "b/fast/v" {
		t.Errorf("%v, %v", made, err)
	}
	r = request("w")
	r.Parameters = map[string]string{"pool": "nowhere"}
	if _, err := f.CreateVolume(t.Context(), r); code(err) != codes.InvalidArgument || !contains(err, "nowhere") {
		t.Errorf("a pool that no node has: %v", err)
	}
}

// A scheduler that has chosen a node without the pool is told to choose again.
func TestPoolThatOnlyOtherNodesHaveIsAReasonToChooseAgain(t *testing.T) {
	f := settled(fleet.Config{FirstOnly: true})
	newMachine(t, "a", volume.GiB).connect(t, f)
	newMachine(t, "b", volume.GiB, "default", "fast").connect(t, f)
	for _, c := range []struct {
		pool string
		want codes.Code
	}{{"fast", codes.ResourceExhausted}, {"nowhere", codes.InvalidArgument}} {
		r := request("v", "a", "b")
		r.Parameters, r.AccessibilityRequirements.Preferred = map[string]string{"pool": c.pool}, topologies("a", "b")
		if _, err := f.CreateVolume(t.Context(), r); code(err) != c.want {
			t.Errorf("pool %q: %v", c.pool, err)
		}
	}
	r := request("v", "a")
	r.Parameters = map[string]string{"pool": "fast"}
	if _, err := f.CreateVolume(t.Context(), r); code(err) != codes.ResourceExhausted || !contains(err, `"a"`) {
		t.Errorf("without a preference: %v", err)
	}
}

// Volumes of different kinds share the room of a pool.
func TestKindsOfVolumesShareAPool(t *testing.T) {
	f, _ := three(t, fleet.Config{})
	for i, access := range []func(*csi.VolumeCapability){
		func(*csi.VolumeCapability) {},
		func(c *csi.VolumeCapability) {
			c.AccessType = &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}}
		},
	} {
		small, large := request(fmt.Sprintf("small%d", i), "a"), request(fmt.Sprintf("large%d", i))
		access(small.VolumeCapabilities[0])
		access(large.VolumeCapabilities[0])
		if _, err := f.CreateVolume(t.Context(), small); err != nil { // asks all nodes for the room of this kind
			t.Fatal(err)
		}
		large.CapacityRange.RequiredBytes = 60 << 20
		want := []string{"b", "c"}[i] // 128, then 68 against 96
		if made, err := f.CreateVolume(t.Context(), large); err != nil || !strings.HasPrefix(made.GetVolume().GetVolumeId(), want) {
			t.Errorf("%v, %v, want on %s", made, err, want)
		}
	}
}

// Each of the creates at once counts on the room that the others take, so that no node is asked in vain.
func TestCreatesAtOnceAreCounted(t *testing.T) {
	f, nodes := three(t, fleet.Config{})
	var asked atomic.Int32
	for _, m := range nodes {
		m.working(func(string) { asked.Add(1) })
	}
	const all = 12 + 25 + 19 // of 5 MiB fit
	for _, part := range []struct{ from, to int }{{0, 20}, {20, all}} {
		var creates sync.WaitGroup
		for i := part.from; i < part.to; i++ {
			creates.Go(func() {
				r := request(fmt.Sprintf("v%d", i))
				r.CapacityRange.RequiredBytes = 5 << 20
				if _, err := f.CreateVolume(t.Context(), r); err != nil {
					t.Error(err)
				}
			})
		}
		creates.Wait()
	}
	if n := asked.Load(); n != all {
		t.Errorf("nodes were asked %d times to make %d volumes", n, all)
	}
}

func TestCreatesAtOnceDoNotOverfill(t *testing.T) {
	f, nodes := three(t, fleet.Config{})
	var all sync.WaitGroup
	made := make(chan string, 100)
	for i := range 100 { // of 5 MiB: there is room for 12 + 25 + 19
		all.Go(func() {
			r := request(fmt.Sprintf("v%d", i))
			r.CapacityRange.RequiredBytes = 5 << 20
			got, err := f.CreateVolume(t.Context(), r)
			if err == nil {
				made <- got.GetVolume().GetVolumeId()
			} else if code(err) != codes.ResourceExhausted {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(made) != 12+25+19 {
		t.Errorf("%d were made", len(made))
	}
	if on := len(nodes["a"].volumes(t)) + len(nodes["b"].volumes(t)) + len(nodes["c"].volumes(t)); on != len(made) {
		t.Errorf("%d are on the nodes", on)
	}
}
