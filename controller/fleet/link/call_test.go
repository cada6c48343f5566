package link_test

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/controller/fleet/link"
)

// service is a node's: its answer is what the name of the asked service says.
type service struct {
	healthgrpc.UnimplementedHealthServer
	began, ended, release chan struct{}
}

func (s *service) Check(ctx context.Context, req *healthgrpc.HealthCheckRequest) (*healthgrpc.HealthCheckResponse, error) {
	switch req.GetService() {
	case "wait":
		close(s.began)
		<-ctx.Done()
		close(s.ended)
		return nil, status.FromContextError(ctx.Err()).Err()
	case "deadline":
		if _, ok := ctx.Deadline(); !ok {
			return nil, status.Error(codes.Internal, "it has none")
		}
	case "refuse":
		refused, err := status.New(codes.ResourceExhausted, "pool \"fast\" is full").WithDetails(req)
		if err != nil {
			return nil, err
		}
		return nil, refused.Err()
	case "hold":
		close(s.began)
		<-s.release
	}
	return &healthgrpc.HealthCheckResponse{Status: healthgrpc.HealthCheckResponse_SERVING}, nil
}

// Watch does what Check does, as a stream.
func (s *service) Watch(req *healthgrpc.HealthCheckRequest, stream grpc.ServerStreamingServer[healthgrpc.HealthCheckResponse]) error {
	_, err := s.Check(stream.Context(), req)
	return err
}

// dial starts a node.
func dial(t testing.TB, a *authority, address, name string, server *grpc.Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), klog.Logger{}))
	done := make(chan struct{})
	_, port, _ := net.SplitHostPort(address)
	d := link.Dialer{Address: "localhost:" + port, Node: name, Server: server,
		TLS:   func() (*tls.Config, error) { return &tls.Config{RootCAs: a.pool}, nil },
		Token: func() (string, error) { return "token-of-" + name + "\n", nil },
	}
	go func() { defer close(done); d.Run(ctx) }()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-done }) }
	t.Cleanup(stop)
	return stop
}

func newServer(t testing.TB) (*grpc.Server, *service) {
	t.Helper()
	s := &service{began: make(chan struct{}), ended: make(chan struct{}), release: make(chan struct{})}
	server := grpc.NewServer(link.ServerOptions()...)
	healthgrpc.RegisterHealthServer(server, s)
	t.Cleanup(server.Stop)
	return server, s
}

func eventually(t testing.TB, most time.Duration, what string, f func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !f() {
		if time.Since(began) > most {
			t.Fatalf("waited %s for %s", most, what)
		}
		time.Sleep(5 * time.Millisecond) // between two looks
	}
	return time.Since(began)
}

func TestCallsArriveWithAllThatBelongsToThem(t *testing.T) {
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	server, s := newServer(t)
	dial(t, a, r.address, "n1", server)
	eventually(t, 30*time.Second, "the node", func() bool { return r.node("n1") != nil })
	client := healthgrpc.NewHealthClient(r.node("n1"))
	check := func(ctx context.Context, what string) error {
		_, err := client.Check(ctx, &healthgrpc.HealthCheckRequest{Service: what})
		return err
	}
	if err := check(t.Context(), ""); err != nil {
		t.Error(err)
	}
	deadline, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := check(deadline, "deadline"); err != nil {
		t.Error(err)
	}
	err := check(t.Context(), "refuse")
	if status.Code(err) != codes.ResourceExhausted || status.Convert(err).Message() != `pool "fast" is full` {
		t.Error(err)
	}
	if details := status.Convert(err).Details(); len(details) != 1 || details[0].(*healthgrpc.HealthCheckRequest).GetService() != "refuse" {
		t.Errorf("details: %v", details)
	}
	short, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if err := check(short, "deadline"); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() { failed <- check(ctx, "wait") }()
	<-s.began
	stop()
	if err := <-failed; status.Code(err) != codes.Canceled {
		t.Error(err)
	}
	<-s.ended // the node's side too
}
