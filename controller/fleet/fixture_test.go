package fleet_test

import (
	"context"
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

	earlier bool // it is of a release without an inventory

	mu     sync.Mutex
	before func(ctx context.Context, method string) error // called before a call is served; nil: nothing
	after  func(method string) error                      // its error takes the place of the answer
	during func(name string)                              // called when a create is at work; nil: nothing
	lie    func(answer any)                               // changes an answer; nil: nothing
	greedy bool                                           // makes volumes that are asked for on other nodes
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
		all = append(all, &disk{Pool: memory.New(p, name, size)})
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
	control := &worker{Server: controller.New(controller.Config{Pools: m.pools}), machine: m}
	c := driver.Config{Endpoint: filepath.Join(t.TempDir(), "s"), Version: "test", Controller: control, Group: control}
	if !m.earlier {
		c.Inventory = controller.NewInventory(m.pools)
	}
	d, err := driver.New(c)
	if err != nil {
		t.Fatal(err)
	}
	m.lis = bufconn.Listen(64 << 10)
	m.server = d.Remote(klog.NewContext(t.Context(), klog.Logger{}), grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		m.mu.Lock()
		before, after, lie := m.before, m.after, m.lie
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
		if lie != nil && err == nil {
			lie(resp)
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

// worker is the services of a machine.
type worker struct {
	*controller.Server
	machine *machine
}

func (w *worker) CreateVolume(ctx context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	w.machine.mu.Lock()
	during, greedy := w.machine.during, w.machine.greedy
	w.machine.mu.Unlock()
	if greedy {
		req.AccessibilityRequirements = nil
	}
	if during != nil {
		during(req.GetName())
	}
	return w.Server.CreateVolume(ctx, req)
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

// joinToo makes a connection to a further replica, and leaves the one that there is.
func (m *machine) joinToo(t testing.TB, f *fleet.Fleet) {
	t.Helper()
	conn, gone := m.conn, m.gone
	m.join(t, f)
	t.Cleanup(func() { gone(); _ = conn.Close() })
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

// working has during called in the middle of each create.
func (m *machine) working(during func(name string)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.during = during
}

// lying has each answer changed.
func (m *machine) lying(lie func(answer any)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lie = lie
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
	case volume.Is(err, volume.InUse):
		return codes.FailedPrecondition
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
