package driver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/inventory"
	"github.com/loam-storage/loam/driver/volume"
)

// stopTimeout is how long calls and work get to end once the server was told to stop. It is the time
// that the kubelet gives a pod by default. What has not ended then dies with the process, which
// pools survive (driver/pool).
const stopTimeout = 30 * time.Second

// Config says what a Server serves, and where.
type Config struct {
	Endpoint   string // unix:///path, unix:/path or a path: the socket (CSI_ENDPOINT in the spec)
	Version    string // of this build; the vendor_version of the plugin, which must not be empty
	Controller csi.ControllerServer
	Group      csi.GroupControllerServer
	Node       csi.NodeServer // a service that is nil is not served: UNIMPLEMENTED
	Inventory  inventory.InventoryServer

	// Forwards says that the services pass each call on to a server with a gate of its own. Then there is none here: a
	// call ends with its caller, so that nothing more is begun for one that may be asking elsewhere already.
	Forwards bool

	// Ready says whether calls can succeed; nil: always. An error of the kind volume.Unavailable
	// means "not yet", any other one that something is broken. Probe and /readyz ask it.
	Ready func(context.Context) error

	// Beside returns what is not available although calls can succeed; nil: nothing. /readyz names it.
	Beside func() []error

	// Registered says whether the orchestrator knows this driver; nil: it need not. /readyz asks it.
	Registered func() error

	// Pools is asked for each scrape of the metrics; nil: none. A pool that cannot be read is best
	// returned with Healthy false. What comes with an error is shown all the same.
	Pools func(context.Context) ([]volume.PoolStatus, error)

	// Nodes returns how many nodes are connected, for the metrics of a controller; nil: this is none.
	Nodes func() int

	HTTPAddress string // host:port of /metrics, /healthz and /readyz; off where empty
}

// Server is the driver on its socket.
type Server struct {
	config   Config
	socket   *socket
	http     net.Listener // nil: off
	metrics  *metrics
	gate     *gate
	patience time.Duration
	remote   *grpc.Server // nil: nobody calls over a connection of their own
}

// New checks the configuration and claims the socket, which only this user may open, and the HTTP
// address. Nothing is answered before Serve. A socket that nobody listens on is removed. The kind of
// its error is Invalid for a configuration that cannot be, InUse where somebody else has the socket
// or the address.
func New(c Config) (*Server, error) {
	if c.Version == "" {
		return nil, volume.Errorf(volume.Invalid, "the driver has no version: CSI demands one")
	}
	path, err := SocketPath(c.Endpoint)
	if err != nil {
		return nil, err
	}
	s := &Server{config: c, metrics: newMetrics(c.Version, c.Pools, c.Nodes), gate: newGate(), patience: stopTimeout}
	if s.socket, err = claim(path); err != nil {
		return nil, err
	}
	if c.HTTPAddress == "" {
		return s, nil
	}
	if s.http, err = net.Listen("tcp", c.HTTPAddress); err != nil {
		err = volume.Errorf(volume.InUse, "metrics address %q: %w", c.HTTPAddress, err)
		return nil, errors.Join(err, s.socket.release())
	}
	return s, nil
}

// Serve answers calls until ctx ends. Then it takes no new ones, lets those at work end, also work
// whose caller has left, and removes the socket if it is still its own. Its error names the work that
// had not ended after 30 seconds. The logger of ctx is the one that calls are logged with. A Server
// serves once.
func (s *Server) Serve(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	web := s.serveHTTP(logger)
	server := s.grpcServer(logger)
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.socket) }()
	logger.Info("serving", "socket", s.socket.path, "version", s.config.Version)

	var err error
	select {
	case <-ctx.Done():
		logger.Info("stopping", "socket", s.socket.path)
	case err = <-served:
		err = volume.Errorf(volume.Internal, "socket %q: serving ended: %w", s.socket.path, err)
	}
	// The claim stands until the work has ended: a process that takes over must not begin before.
	return errors.Join(err, s.stop(server), closeHTTP(web), s.socket.release())
}

// Remote returns a server for connections that are not the socket's, on which the controller of a cluster
// calls this node. It has all services but that of the node, which is the kubelet's alone, and beside them the inventory and a
// health check.
// Calls pass what those on the socket do, and a name is held against both. It is to be called once, before
// Serve, which ends it.
func (s *Server) Remote(ctx context.Context, options ...grpc.ServerOption) *grpc.Server {
	s.remote = s.newServer(klog.FromContext(ctx), append(options, grpc.ChainUnaryInterceptor(s.gate.tellMaking))...)
	if s.config.Inventory != nil {
		inventory.RegisterInventoryServer(s.remote, s.config.Inventory)
	}
	healthgrpc.RegisterHealthServer(s.remote, health.NewServer())
	return s.remote
}

func (s *Server) grpcServer(logger klog.Logger) *grpc.Server {
	server := s.newServer(logger)
	if s.config.Node != nil {
		csi.RegisterNodeServer(server, s.config.Node)
	}
	return server
}

func (s *Server) newServer(logger klog.Logger, options ...grpc.ServerOption) *grpc.Server {
	hold := s.gate.hold
	if s.config.Forwards {
		hold = passThrough
	}
	server := grpc.NewServer(append(options, grpc.ChainUnaryInterceptor( // their order is explained in doc.go
		logCalls(logger), s.metrics.count, answerStatus, hold, s.metrics.track, guard))...)
	csi.RegisterIdentityServer(server, &identity{version: s.config.Version, ready: s.config.Ready})
	if s.config.Controller != nil {
		csi.RegisterControllerServer(server, s.config.Controller)
	}
	if s.config.Group != nil {
		csi.RegisterGroupControllerServer(server, s.config.Group)
	}
	return server
}

func passThrough(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	return handler(ctx, req)
}

// stop lets calls and work end, for as long as the server's patience lasts.
func (s *Server) stop(server *grpc.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		var both sync.WaitGroup // neither takes new calls while the other still works
		both.Go(server.GracefulStop)
		if s.remote != nil {
			both.Go(s.remote.GracefulStop)
		}
		both.Wait()
	}()
	var err error
	select {
	case <-stopped:
	case <-ctx.Done():
		err = fmt.Errorf("stopped while calls had not been answered after %s", s.patience)
		server.Stop()
		if s.remote != nil {
			s.remote.Stop()
		}
	}
	return errors.Join(err, s.gate.drain(ctx))
}

func closeHTTP(web *http.Server) error {
	if web == nil {
		return nil
	}
	return web.Close()
}
