package link_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/controller/fleet/link"
)

func TestNodeConnectsAgainAndTheSecondConnectionCounts(t *testing.T) {
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	server, _ := newServer(t)
	stop := dial(t, a, r.address, "n1", server)
	eventually(t, 30*time.Second, "the node", func() bool { return r.node("n1") != nil })
	first := r.node("n1")
	other, _ := newServer(t)
	dial(t, a, r.address, "n1", other)
	eventually(t, 30*time.Second, "the second connection", func() bool { n := r.node("n1"); return n != nil && n != first })
	stop()
	r.stop()
	again := listen(t, a, r.address)
	eventually(t, 30*time.Second, "the node to be back", func() bool { return again.node("n1") != nil })
	if _, err := healthgrpc.NewHealthClient(again.node("n1")).Check(t.Context(), &healthgrpc.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
}

// A server that stops ends its connections when their calls have ended, and the dialer with them.
func TestNodeThatStopsEndsItsCallsFirst(t *testing.T) {
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	server := grpc.NewServer(link.ServerOptions()...)
	healthgrpc.RegisterHealthServer(server, health.NewServer())
	done := make(chan struct{})
	_, port, _ := net.SplitHostPort(r.address)
	go func() {
		defer close(done)
		link.Dialer{Address: "localhost:" + port, Node: "n1", Server: server,
			TLS:   func() (*tls.Config, error) { return &tls.Config{RootCAs: a.pool}, nil },
			Token: func() (string, error) { return "token-of-n1", nil },
		}.Run(klog.NewContext(context.Background(), klog.Logger{}))
	}()
	eventually(t, 30*time.Second, "the node", func() bool { return r.node("n1") != nil })
	server.GracefulStop()
	<-done
	eventually(t, 30*time.Second, "the node to be gone", func() bool { return r.count() == 0 })
}

// dialOnce starts a node that comes once, and returns a channel that is closed when it has to come again.
func dialOnce(t *testing.T, a *authority, address, name string, server *grpc.Server) (over <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), klog.Logger{}))
	ended, done, times := make(chan struct{}), make(chan struct{}), 0
	_, port, _ := net.SplitHostPort(address)
	d := link.Dialer{Address: "localhost:" + port, Node: name, Server: server,
		TLS: func() (*tls.Config, error) { return &tls.Config{RootCAs: a.pool}, nil },
		Token: func() (string, error) {
			if times++; times == 2 {
				close(ended)
			}
			if times > 1 {
				return "", errors.New("once is enough")
			}
			return "token-of-" + name, nil
		},
	}
	go func() { defer close(done); d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return ended
}

// The calls on a connection that is replaced end as they would have; then it ends.
func TestCallsOutliveTheReplacementOfTheirConnection(t *testing.T) {
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	server, s := newServer(t)
	over := dialOnce(t, a, r.address, "n1", server)
	eventually(t, 30*time.Second, "the node", func() bool { return r.node("n1") != nil })
	before := r.node("n1")
	failed := make(chan error, 1)
	go func() {
		_, err := healthgrpc.NewHealthClient(before).Check(context.Background(), &healthgrpc.HealthCheckRequest{Service: "hold"})
		failed <- err
	}()
	<-s.began
	other, _ := newServer(t)
	dial(t, a, r.address, "n1", other)
	eventually(t, 30*time.Second, "the second connection", func() bool { return r.node("n1") != before })
	if _, err := healthgrpc.NewHealthClient(r.node("n1")).Check(t.Context(), &healthgrpc.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
	select {
	case <-over:
		t.Fatal("the first connection has ended before its call")
	default:
	}
	close(s.release)
	if err := <-failed; err != nil {
		t.Error(err)
	}
	<-over
	if r.node("n1") == nil {
		t.Error("the second connection went with the first")
	}
}

// A call that does not end keeps a connection that was replaced for some seconds only. A stream counts as a call.
func TestReplacedConnectionEndsWithoutItsCalls(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	server, s := newServer(t)
	over := dialOnce(t, a, r.address, "n1", server)
	eventually(t, 30*time.Second, "the node", func() bool { return r.node("n1") != nil })
	before := r.node("n1")
	stream, err := healthgrpc.NewHealthClient(before).Watch(t.Context(), &healthgrpc.HealthCheckRequest{Service: "wait"})
	if err != nil {
		t.Fatal(err)
	}
	<-s.began
	other, _ := newServer(t)
	dial(t, a, r.address, "n1", other)
	eventually(t, 30*time.Second, "the second connection", func() bool { return r.node("n1") != before })
	began := time.Now()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("it ended with %v", err)
	}
	if took := time.Since(began); took < 5*time.Second || took > 40*time.Second {
		t.Errorf("it ended after %s", took)
	}
	<-over
}

// Of many connections at once, as many as a node may have, one counts, and it is the one that lasts.
func TestNodeThatConnectsManyTimesAtOnceStaysConnected(t *testing.T) {
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	const times = 8
	for range times {
		server, _ := newServer(t)
		dialOnce(t, a, r.address, "n1", server)
	}
	eventually(t, 30*time.Second, "all of them", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.came == times })
	eventually(t, 30*time.Second, "all but one to end", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.went == times-1 })
	if _, err := healthgrpc.NewHealthClient(r.node("n1")).Check(t.Context(), &healthgrpc.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
}

// There is nothing to connect for once the server has stopped, even if it did so while there was no connection.
func TestNodeWhoseServerHasStoppedStaysAway(t *testing.T) {
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	server, _ := newServer(t)
	server.Stop()
	done := make(chan struct{})
	_, port, _ := net.SplitHostPort(r.address)
	go func() {
		defer close(done)
		link.Dialer{Address: "localhost:" + port, Node: "n1", Server: server,
			TLS:   func() (*tls.Config, error) { return &tls.Config{RootCAs: a.pool}, nil },
			Token: func() (string, error) { return "token-of-n1", nil },
		}.Run(klog.NewContext(context.Background(), klog.Logger{}))
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Error("it is still at it")
	}
}
