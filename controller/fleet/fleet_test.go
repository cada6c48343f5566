package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/controller"
	"github.com/loam-storage/loam/controller/fleet"
	"github.com/loam-storage/loam/driver"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
)

// machine is a node with pools in memory, which survive that it is away.
type machine struct {
	name  string
	pools *pool.Set

	mu     sync.Mutex
	before func(ctx context.Context, method string) error // called before a call is served; nil: nothing
	after  func(method string) error                      // its error takes the place of the answer
	server *grpc.Server
	lis    *bufconn.Listener
	conn   *grpc.ClientConn
	gone   func()
}

func newMachine(t testing.TB, name string, size volume.Size, pools ...string) *machine {
	t.Helper()
	if len(pools) == 0 {
		pools = []string{"default"}
	}
	var all []pool.Pool
	for _, p := range pools {
		all = append(all, memory.New(p, name, size))
	}
	set, err := pool.NewSet(name, all...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, p := range all {
			_ = p.Close()
		}
	})
	return &machine{name: name, pools: set}
}

// connect starts the driver of the machine and connects it to the fleet.
func (m *machine) connect(t testing.TB, f *fleet.Fleet) {
	t.Helper()
	control := controller.New(controller.Config{Pools: m.pools})
	d, err := driver.New(driver.Config{Endpoint: filepath.Join(t.TempDir(), "s"), Version: "test", Controller: control, Group: control})
	if err != nil {
		t.Fatal(err)
	}
	m.lis = bufconn.Listen(64 << 10)
	m.server = d.Remote(klog.NewContext(t.Context(), klog.Logger{}), grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		m.mu.Lock()
		before, after := m.before, m.after
		m.mu.Unlock()
		if before != nil {
			if err := before(ctx, info.FullMethod); err != nil {
				return nil, err
			}
		}
		resp, err := handler(ctx, req)
		if after != nil {
			if failed := after(info.FullMethod); failed != nil {
				return nil, failed
			}
		}
		return resp, err
	}))
	go func() { _ = m.server.Serve(m.lis) }()
	m.join(t, f)
	t.Cleanup(func() {
		m.leave()
		m.server.Stop()
	})
}

// join makes a connection, which may be one of several, to several replicas.
func (m *machine) join(t testing.TB, f *fleet.Fleet) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+m.name, grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return m.lis.Dial() }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	gone := f.Connect(m.name, conn)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conn, m.gone = conn, gone
}

// leave ends the connection.
func (m *machine) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone != nil {
		m.gone()
		_ = m.conn.Close()
		m.gone = nil
	}
}

func (m *machine) hook(before func(context.Context, string) error, after func(string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before, m.after = before, after
}

// volumes returns the names of what is on the disk.
func (m *machine) volumes(t testing.TB) []string {
	t.Helper()
	var names []string
	for _, p := range m.pools.All() {
		all, err := p.List(context.Background(), "", 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range all {
			names = append(names, v.ID.Name)
		}
	}
	return names
}

// settled is a Fleet that is past the time in which it waits for nodes.
func settled(c fleet.Config) *fleet.Fleet {
	c.Settle = time.Nanosecond
	return fleet.New(c)
}

func request(name string, nodes ...string) *csi.CreateVolumeRequest {
	r := &csi.CreateVolumeRequest{Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: 1 << 20},
		VolumeCapabilities: []*csi.VolumeCapability{{
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
			AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
		}}}
	if len(nodes) > 0 {
		r.AccessibilityRequirements = &csi.TopologyRequirement{Requisite: topologies(nodes...)}
	}
	return r
}

func topologies(nodes ...string) (all []*csi.Topology) {
	for _, n := range nodes {
		all = append(all, &csi.Topology{Segments: map[string]string{volume.TopologyKey: n}})
	}
	return all
}

// code returns the gRPC code that a caller would get, whichever way the error says it.
func code(err error) codes.Code {
	switch {
	case err == nil:
		return codes.OK
	case volume.Is(err, volume.Unavailable):
		return codes.Unavailable
	case volume.Is(err, volume.Full):
		return codes.ResourceExhausted
	case volume.Is(err, volume.NotFound):
		return codes.NotFound
	case volume.Is(err, volume.Invalid):
		return codes.InvalidArgument
	case volume.Is(err, volume.Exists):
		return codes.AlreadyExists
	case volume.Is(err, volume.Busy):
		return codes.Aborted
	}
	return status.Code(err)
}

// three returns a fleet of three nodes: a with 64 MiB, b with 128, c with 96.
func three(t *testing.T, c fleet.Config) (f *fleet.Fleet, nodes map[string]*machine) {
	t.Helper()
	f, nodes = settled(c), map[string]*machine{}
	for name, size := range map[string]volume.Size{"a": 64, "b": 128, "c": 96} {
		nodes[name] = newMachine(t, name, size*volume.MiB)
		nodes[name].connect(t, f)
	}
	return f, nodes
}

func TestCallsGoToTheNodeOfTheHandle(t *testing.T) {
	f, nodes := three(t, fleet.Config{})
	made, err := f.CreateVolume(t.Context(), request("v", "c"))
	if err != nil || made.GetVolume().GetVolumeId() != "c/default/v" {
		t.Fatalf("%v, %v", made, err)
	}
	handle := made.GetVolume().GetVolumeId()
	if got, err := f.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: handle}); err != nil || got.GetVolume().GetVolumeId() != handle {
		t.Errorf("%v, %v", got, err)
	}
	sn, err := f.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: handle})
	if err != nil || sn.GetSnapshot().GetSnapshotId() != "c/default/s" {
		t.Fatalf("%v, %v", sn, err)
	}
	restore := request("copy")
	restore.VolumeContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: "c/default/s"}}}
	if got, err := f.CreateVolume(t.Context(), restore); err != nil || got.GetVolume().GetVolumeId() != "c/default/copy" {
		t.Errorf("a copy is made beside its source: %v, %v", got, err)
	}
	restore = request("copy2", "a")
	restore.VolumeContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: "c/default/s"}}}
	if _, err := f.CreateVolume(t.Context(), restore); code(err) != codes.ResourceExhausted {
		t.Errorf("a copy on another node than its source: %v", err)
	}
	if _, err := f.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: "a/default/other"}); code(err) != codes.AlreadyExists {
		t.Errorf("a snapshot's name on another node: %v", err)
	}
	if _, err := f.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: handle}); err != nil {
		t.Error(err)
	}
	if left := nodes["c"].volumes(t); len(left) != 1 {
		t.Errorf("left: %q", left)
	}
}

func TestNodeThatIsAwayIsNamedAtOnce(t *testing.T) {
	f, _ := three(t, fleet.Config{})
	for what, call := range map[string]func() error{
		"get": func() error {
			_, err := f.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: "d/default/v"})
			return err
		},
		"delete": func() error {
			_, err := f.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "d/default/v"})
			return err
		},
		"capacity": func() error {
			_, err := f.GetCapacity(t.Context(), &csi.GetCapacityRequest{AccessibleTopology: topologies("d")[0]})
			return err
		},
		"snapshot": func() error {
			_, err := f.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: "d/default/v"})
			return err
		},
		"list": func() error {
			_, err := f.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{SnapshotId: "d/default/s"})
			return err
		},
	} {
		if err := call(); code(err) != codes.Unavailable || err == nil {
			t.Errorf("%s: %v", what, err)
		} else if want := `node "d" is not connected`; !contains(err, want) {
			t.Errorf("%s: %v does not say %s", what, err, want)
		}
	}
	if _, err := f.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: "nonsense"}); code(err) != codes.NotFound {
		t.Error(err)
	}
	if _, err := f.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "nonsense"}); err != nil {
		t.Error(err)
	}
}

func contains(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }

// cluster is what the orchestrator knows in a test.
type cluster struct {
	has      map[string]bool
	err      error
	mu       sync.Mutex
	reported []string
}

func (c *cluster) HasNode(_ context.Context, node string) (bool, error) { return c.has[node], c.err }
func (c *cluster) Report(_ context.Context, reason, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reported = append(c.reported, reason+": "+message)
}

func TestWhatWasOnANodeThatIsGoneForGoodCanBeDeleted(t *testing.T) {
	known := &cluster{has: map[string]bool{"d": true}}
	f, _ := three(t, fleet.Config{Cluster: known})
	remove := func(handle string) error {
		_, err := f.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: handle})
		return err
	}
	if err := remove("d/default/v"); code(err) != codes.Unavailable {
		t.Errorf("a node that is only away: %v", err)
	}
	if err := remove("e/default/v"); err != nil {
		t.Errorf("a node that is gone: %v", err)
	}
	if _, err := f.ControllerUnpublishVolume(t.Context(), &csi.ControllerUnpublishVolumeRequest{VolumeId: "e/default/v", NodeId: "e"}); err != nil {
		t.Error(err)
	}
	if len(known.reported) != 2 {
		t.Errorf("reported: %q", known.reported)
	}
	known.err = errors.New("the API is away")
	if err := remove("e/default/v"); code(err) != codes.Unavailable {
		t.Errorf("a node of which nothing is known: %v", err)
	}
}

func TestListsAreOfAllNodesAndPagesFitTogether(t *testing.T) {
	f, nodes := three(t, fleet.Config{})
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

func TestGroupOfSnapshotsIsOfOneNode(t *testing.T) {
	f, _ := three(t, fleet.Config{})
	for _, v := range []struct{ name, node string }{{"x", "a"}, {"y", "a"}, {"z", "b"}} {
		if _, err := f.CreateVolume(t.Context(), request(v.name, v.node)); err != nil {
			t.Fatal(err)
		}
	}
	take := func(handles ...string) (*csi.VolumeGroupSnapshot, error) {
		r, err := f.CreateVolumeGroupSnapshot(t.Context(), &csi.CreateVolumeGroupSnapshotRequest{Name: "g", SourceVolumeIds: handles})
		return r.GetGroupSnapshot(), err
	}
	if _, err := take("a/default/x", "b/default/z"); code(err) != codes.InvalidArgument || !contains(err, "different nodes") {
		t.Errorf("of two nodes: %v", err)
	}
	group, err := take("a/default/x", "a/default/y")
	if err != nil || len(group.GetSnapshots()) != 2 {
		t.Fatalf("%v, %v", group, err)
	}
	var ids []string
	for _, s := range group.GetSnapshots() {
		ids = append(ids, s.GetSnapshotId())
	}
	if got, err := f.GetVolumeGroupSnapshot(t.Context(), &csi.GetVolumeGroupSnapshotRequest{GroupSnapshotId: group.GetGroupSnapshotId(), SnapshotIds: ids}); err != nil || len(got.GetGroupSnapshot().GetSnapshots()) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := f.DeleteVolumeGroupSnapshot(t.Context(), &csi.DeleteVolumeGroupSnapshotRequest{GroupSnapshotId: group.GetGroupSnapshotId(), SnapshotIds: ids}); err != nil {
		t.Error(err)
	}
	if left, err := f.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{}); err != nil || len(left.GetEntries()) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}
