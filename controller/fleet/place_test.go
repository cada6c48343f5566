package fleet_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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

// However a create ends, its retry finds the volume where the first attempt made it.
func TestRetryNeverMakesASecondVolume(t *testing.T) {
	count := func(nodes map[string]*machine) (n int) {
		for _, m := range nodes {
			n += len(m.volumes(t))
		}
		return n
	}
	t.Run("the answer was lost with the connection", func(t *testing.T) {
		f, nodes := three(t, fleet.Config{})
		nodes["b"].hook(nil, func(method string) error {
			if strings.HasSuffix(method, "/CreateVolume") {
				nodes["b"].leave()
			}
			return nil
		})
		if _, err := f.CreateVolume(t.Context(), request("v")); code(err) != codes.Unavailable {
			t.Fatal(err)
		}
		// b, which has it, is away: it must not be made elsewhere.
		if _, err := f.CreateVolume(t.Context(), request("v")); code(err) != codes.Unavailable || !contains(err, `"b"`) {
			t.Errorf("%v", err)
		}
		nodes["b"].hook(nil, nil)
		nodes["b"].join(t, f)
		if made, err := f.CreateVolume(t.Context(), request("v")); err != nil || made.GetVolume().GetVolumeId() != "b/default/v" {
			t.Errorf("%v, %v", made, err)
		}
		if n := count(nodes); n != 1 {
			t.Errorf("it was made %d times", n)
		}
	})
	t.Run("the node answered that it is not sure", func(t *testing.T) {
		f, nodes := three(t, fleet.Config{})
		nodes["b"].hook(nil, func(method string) error {
			if strings.HasSuffix(method, "/CreateVolume") {
				return status.Error(codes.DeadlineExceeded, "it takes a while")
			}
			return nil
		})
		if _, err := f.CreateVolume(t.Context(), request("v")); code(err) != codes.DeadlineExceeded {
			t.Fatal(err)
		}
		nodes["b"].hook(nil, nil)
		fill := request("fill", "b") // b has no longer the most room
		fill.CapacityRange.RequiredBytes = 100 << 20
		if _, err := f.CreateVolume(t.Context(), fill); err != nil {
			t.Fatal(err)
		}
		if made, err := f.CreateVolume(t.Context(), request("v")); err != nil || made.GetVolume().GetVolumeId() != "b/default/v" {
			t.Errorf("%v, %v", made, err)
		}
		if n := count(nodes); n != 2 {
			t.Errorf("there are %d volumes", n)
		}
	})
	t.Run("another replica made it", func(t *testing.T) {
		f, nodes := three(t, fleet.Config{Quiet: time.Nanosecond})
		other := settled(fleet.Config{})
		for _, m := range nodes {
			conn, gone := m.conn, m.gone
			m.join(t, other)
			t.Cleanup(func() { gone(); _ = conn.Close() })
		}
		if _, err := f.CreateVolume(t.Context(), request("warm")); err != nil {
			t.Fatal(err)
		}
		if made, err := other.CreateVolume(t.Context(), request("v", "a")); err != nil || made.GetVolume().GetVolumeId() != "a/default/v" {
			t.Fatalf("%v, %v", made, err)
		}
		if made, err := f.CreateVolume(t.Context(), request("v", "a", "b", "c")); err != nil || made.GetVolume().GetVolumeId() != "a/default/v" {
			t.Errorf("%v, %v", made, err)
		}
		if n := count(nodes); n != 2 {
			t.Errorf("there are %d volumes", n)
		}
	})
	t.Run("the controller was started anew", func(t *testing.T) {
		f, nodes := three(t, fleet.Config{})
		if _, err := f.CreateVolume(t.Context(), request("v", "a")); err != nil {
			t.Fatal(err)
		}
		for _, m := range nodes {
			m.leave()
		}
		anew := fleet.New(fleet.Config{}) // as it is within its first seconds
		nodes["b"].join(t, anew)
		if _, err := anew.CreateVolume(t.Context(), request("v", "a", "b")); code(err) != codes.Unavailable || !contains(err, `"a"`) {
			t.Errorf("a node that may have it has not connected yet: %v", err)
		}
		nodes["a"].join(t, anew)
		if made, err := anew.CreateVolume(t.Context(), request("v", "a", "b")); err != nil || made.GetVolume().GetVolumeId() != "a/default/v" {
			t.Errorf("%v, %v", made, err)
		}
		if n := count(nodes); n != 1 {
			t.Errorf("it was made %d times", n)
		}
	})
}

// A connection that takes the place of another is the one that counts.
func TestSecondConnectionReplacesTheFirst(t *testing.T) {
	f := settled(fleet.Config{})
	m := newMachine(t, "a", volume.GiB)
	m.connect(t, f)
	first, conn := m.gone, m.conn
	m.join(t, f)
	first()
	first()
	_ = conn.Close()
	if got := f.Connected(); len(got) != 1 {
		t.Fatalf("connected: %q", got)
	}
	if _, err := f.CreateVolume(t.Context(), request("v")); err != nil {
		t.Error(err)
	}
}

// A thousand nodes of a hundred volumes each: what the controller needs for them, and how fast it is.
func TestThousandNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	const nodes, each = 1000, 100
	before := heap()
	var machines []*machine
	for i := range nodes {
		m := newMachine(t, fmt.Sprintf("node-%04d", i), volume.TiB)
		p := m.pools.All()[0]
		for j := range each {
			id := volume.ID{Node: m.name, Pool: p.Name(), Name: fmt.Sprintf("pvc-%08d-2f6e-4f0a-9d6b-%012d", i, j)}
			if _, err := p.Create(context.Background(), volume.Spec{ID: id, Size: volume.Range{RequiredBytes: volume.MiB}}); err != nil {
				t.Fatal(err)
			}
		}
		machines = append(machines, m)
	}
	own := heap() // of the nodes, which are in this process too
	f := settled(fleet.Config{})
	began := time.Now()
	for _, m := range machines {
		m.connect(t, f)
	}
	if _, err := f.CreateVolume(t.Context(), request("first")); err != nil { // waits until all have been asked
		t.Fatal(err)
	}
	connected := time.Since(began)
	all := 0
	began = time.Now()
	for token := ""; ; {
		page, err := f.ListVolumes(t.Context(), &csi.ListVolumesRequest{StartingToken: token})
		if err != nil {
			t.Fatal(err)
		}
		all += len(page.GetEntries())
		if token = page.GetNextToken(); token == "" {
			break
		}
	}
	listed := time.Since(began)
	if all != nodes*each+1 {
		t.Errorf("%d volumes are listed", all)
	}
	const creates, atOnce = 2000, 100
	began = time.Now()
	var workers sync.WaitGroup
	next := make(chan int)
	for range atOnce {
		workers.Go(func() {
			for i := range next {
				if _, err := f.CreateVolume(t.Context(), request(fmt.Sprintf("new-%d", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range creates {
		next <- i
	}
	close(next)
	workers.Wait()
	rate := float64(creates) / time.Since(began).Seconds()
	used := (heap() - own) >> 20
	fmt.Printf("count: 1,000 nodes of 100 volumes: known after %s, listed in %s, %.0f creates a second, %d MiB of heap for both sides of the connections (nodes' own %d MiB)\n",
		connected.Round(time.Millisecond), listed.Round(time.Millisecond), rate, used, (own-before)>>20)
	if used > 400 {
		t.Errorf("the controller needs %d MiB, 400 are allowed", used)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}
