package driver

import (
	"bytes"
	"context"
	"os"
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
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"github.com/loam-storage/loam/driver/volume"
)

// patience bounds waits that are not expected to be long. A test never sleeps for it.
const patience = 20 * time.Second

// services are CSI services whose calls do what a test says; what it says nothing of is unimplemented.
type services struct {
	csi.UnimplementedControllerServer
	csi.UnimplementedGroupControllerServer
	csi.UnimplementedNodeServer
	create   func(context.Context, *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error)
	remove   func(context.Context, *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error)
	capacity func(context.Context, *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error)
	stage    func(context.Context, *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error)
}

func (s *services) CreateVolume(ctx context.Context, r *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if s.create == nil {
		return s.UnimplementedControllerServer.CreateVolume(ctx, r)
	}
	return s.create(ctx, r)
}

func (s *services) DeleteVolume(ctx context.Context, r *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if s.remove == nil {
		return s.UnimplementedControllerServer.DeleteVolume(ctx, r)
	}
	return s.remove(ctx, r)
}

func (s *services) GetCapacity(ctx context.Context, r *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	if s.capacity == nil {
		return s.UnimplementedControllerServer.GetCapacity(ctx, r)
	}
	return s.capacity(ctx, r)
}

func (s *services) NodeStageVolume(ctx context.Context, r *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	if s.stage == nil {
		return s.UnimplementedNodeServer.NodeStageVolume(ctx, r)
	}
	return s.stage(ctx, r)
}

// running is a server that serves, and a client of it.
type running struct {
	*Server
	controller csi.ControllerClient
	identity   csi.IdentityClient
	node       csi.NodeClient
	log        *logBuffer
	remoteLog  *logBuffer // of startRemote
	ended      chan error // how Serve ended
	cancel     context.CancelFunc
}

// start serves until the test ends, and fails it if the server then does not stop cleanly.
func start(t *testing.T, c Config) *running {
	t.Helper()
	r := startUnchecked(t, c)
	t.Cleanup(func() {
		if err := r.stop(t); err != nil {
			t.Errorf("Serve ended with: %v", err)
		}
	})
	return r
}

func startUnchecked(t *testing.T, c Config) *running { return startWith(t, c, func(*Server) {}) }

// startWith does something with the server before it serves.
func startWith(t *testing.T, c Config, before func(*Server)) *running {
	t.Helper()
	if c.Endpoint == "" {
		c.Endpoint = "unix://" + socketFile(t)
	}
	if c.Version == "" {
		c.Version = "1.2.3"
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	before(s)
	r := &running{Server: s, log: &logBuffer{}, ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	logger := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(r.log), textlogger.Verbosity(10)))
	go func() { r.ended <- s.Serve(klog.NewContext(ctx, logger)) }()
	conn := dial(t, s.socket.path)
	r.controller, r.identity, r.node = csi.NewControllerClient(conn), csi.NewIdentityClient(conn), csi.NewNodeClient(conn)
	return r
}

// stop tells the server to stop and returns how it ended. It may be called again.
func (r *running) stop(t *testing.T) error {
	t.Helper()
	r.cancel()
	err := receive(t, r.ended, "Serve to end")
	r.ended <- err
	return err
}

func dial(t *testing.T, path string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// socketFile returns a path for a socket in a directory of the test's own. It is short, unlike
// t.TempDir, since a socket's path has at most 107 bytes.
func socketFile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "loam")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "csi.sock")
}

// receive returns what comes out of the channel, and fails the test when nothing does.
func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("code %s, want %s: %v", got, want, err)
	}
}

func handle(name string) string { return volume.ID{Node: "n1", Pool: "p1", Name: name}.String() }

// logBuffer is what was logged.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// lines returns the lines that have all the parts.
func (b *logBuffer) lines(parts ...string) []string {
	var found []string
next:
	for line := range strings.Lines(b.String()) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}
