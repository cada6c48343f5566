package link_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/controller/fleet/link"
	"github.com/loam-storage/loam/driver/volume"
)

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	pair := a.issue(t, "")
	a.pool.AddCert(pair.Leaf)
	return a
}

// issue returns a certificate for the given DNS names; the first one is that of the authority.
func (a *authority) issue(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: names,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	if a.certificate == nil {
		c.IsCA, c.BasicConstraintsValid, c.ExtKeyUsage, c.DNSNames = true, true, nil, nil
		a.certificate, a.key = c, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}
}

// replica is a controller that listens, and the nodes that are connected to it.
type replica struct {
	authority *authority
	address   string
	stop      func()

	mu    sync.Mutex
	nodes map[string]grpc.ClientConnInterface
	came  int
}

// listen starts a replica. Whoever shows the token "token of <name>" is that machine, in place of the Kubernetes API.
func listen(t testing.TB, a *authority, address string) *replica {
	t.Helper()
	r := &replica{authority: a, nodes: map[string]grpc.ClientConnInterface{}}
	pair := a.issue(t, "localhost")
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	r.address = tcp.Addr().String()
	l := link.NewListener(link.ListenerConfig{
		TLS: &tls.Config{Certificates: []tls.Certificate{pair}},
		Identify: func(_ context.Context, req *http.Request, _ string) (string, error) {
			token, err := link.Bearer(req)
			if err != nil {
				return "", err
			}
			name, ok := strings.CutPrefix(token, "token-of-")
			if token == "nobody-knows" {
				return "", volume.Errorf(volume.Unavailable, "the API is away")
			}
			if !ok {
				return "", volume.Errorf(volume.Invalid, "it is no token")
			}
			return name, nil
		},
		Connect: func(node string, conn grpc.ClientConnInterface) func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.nodes[node] = conn
			r.came++
			return func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				if r.nodes[node] == conn {
					delete(r.nodes, node)
				}
			}
		},
	})
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), klog.Logger{}))
	ended := make(chan error, 1)
	go func() { ended <- l.Serve(ctx, tcp) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(r.stop)
	return r
}

func (r *replica) node(name string) grpc.ClientConnInterface {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.nodes[name]
}

func (r *replica) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.nodes)
}

// service is a node's: its answer is what the name of the asked service says.
type service struct {
	healthgrpc.UnimplementedHealthServer
	began, ended chan struct{}
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
		return nil, status.Error(codes.ResourceExhausted, "pool \"fast\" is full")
	}
	return &healthgrpc.HealthCheckResponse{Status: healthgrpc.HealthCheckResponse_SERVING}, nil
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
	s := &service{began: make(chan struct{}), ended: make(chan struct{})}
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
	eventually(t, 10*time.Second, "the node", func() bool { return r.node("n1") != nil })
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
	if err := check(t.Context(), "refuse"); status.Code(err) != codes.ResourceExhausted || status.Convert(err).Message() != `pool "fast" is full` {
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

func TestNodeConnectsAgainAndTheSecondConnectionCounts(t *testing.T) {
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	server, _ := newServer(t)
	stop := dial(t, a, r.address, "n1", server)
	eventually(t, 10*time.Second, "the node", func() bool { return r.node("n1") != nil })
	first := r.node("n1")
	other, _ := newServer(t)
	dial(t, a, r.address, "n1", other)
	eventually(t, 10*time.Second, "the second connection", func() bool { n := r.node("n1"); return n != nil && n != first })
	stop()
	r.stop()
	again := listen(t, a, r.address)
	eventually(t, 15*time.Second, "the node to be back", func() bool { return again.node("n1") != nil })
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
	eventually(t, 10*time.Second, "the node", func() bool { return r.node("n1") != nil })
	server.GracefulStop()
	<-done
	eventually(t, 10*time.Second, "the node to be gone", func() bool { return r.count() == 0 })
}

func TestStrangersAreRefusedAndToldNothing(t *testing.T) {
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	knock := func(method, path string, header http.Header) (int, string) {
		t.Helper()
		conn, err := tls.Dial("tcp", r.address, &tls.Config{RootCAs: a.pool, ServerName: "localhost", NextProtos: []string{"http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		req, err := http.NewRequest(method, "https://localhost"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		if err := req.Write(conn); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), req)
		if err != nil {
			return 0, err.Error()
		}
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	hello := func(node, token string) http.Header {
		h := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"loam"}, "Loam-Node": {node}}
		if token != "" {
			h.Set("Authorization", "Bearer "+token)
		}
		return h
	}
	for name, c := range map[string]struct {
		method, path string
		header       http.Header
		want         int
	}{
		"no upgrade":          {"GET", "/connect", http.Header{}, 404},
		"another path":        {"GET", "/", hello("n1", "token-of-n1"), 404},
		"another method":      {"POST", "/connect", hello("n1", "token-of-n1"), 404},
		"no token":            {"GET", "/connect", hello("n1", ""), 401},
		"nonsense for token":  {"GET", "/connect", hello("n1", "nonsense"), 401},
		"another node's name": {"GET", "/connect", hello("n2", "token-of-n1"), 401},
		"nobody can tell":     {"GET", "/connect", hello("n1", "nobody-knows"), 503},
		"a large header":      {"GET", "/connect", hello("n1", strings.Repeat("a", 64<<10)), 431},
	} {
		got, body := knock(c.method, c.path, c.header)
		if got != c.want && !(c.want == 431 && got == 0) {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
		if strings.Contains(body, "n1") || strings.Contains(body, "token is") {
			t.Errorf("%s: it says %q", name, body)
		}
	}
	if r.count() != 0 {
		t.Error("somebody is connected")
	}
	if _, err := tls.Dial("tcp", r.address, &tls.Config{RootCAs: a.pool, ServerName: "localhost", MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("it speaks TLS 1.2")
	}
}

// Whoever opens connections and says nothing holds a bounded number of them for a bounded time, and nodes still
// get in from elsewhere.
func TestSilentStrangersCostLittle(t *testing.T) {
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	var conns []net.Conn
	for range 200 {
		c, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	began := time.Now()
	for _, c := range conns { // all are ended by the other side
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, context.DeadlineExceeded) || err == nil {
			t.Fatalf("a silent connection is still open after %s: %v", time.Since(began), err)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	server, _ := newServer(t)
	dial(t, a, r.address, "n1", server)
	eventually(t, 10*time.Second, "the node", func() bool { return r.node("n1") != nil })
}

// deaf is a connection through which nothing passes any more once it is cut.
type deaf struct {
	listener net.Listener
	mu       sync.Mutex
	cut      bool
}

func proxy(t *testing.T, to string) *deaf {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &deaf{listener: l}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			t.Cleanup(func() { _, _ = in.Close(), out.Close() })
			pass := func(from, to net.Conn) {
				buffer := make([]byte, 4096)
				for {
					n, err := from.Read(buffer)
					p.mu.Lock()
					cut := p.cut
					p.mu.Unlock()
					if err != nil {
						return
					}
					if !cut {
						_, _ = to.Write(buffer[:n])
					}
				}
			}
			go pass(in, out)
			go pass(out, in)
		}
	}()
	return p
}

func TestDeadPeerIsKnownWithinSeconds(t *testing.T) {
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	server, s := newServer(t)
	p := proxy(t, r.address)
	dial(t, a, p.listener.Addr().String(), "n1", server)
	eventually(t, 10*time.Second, "the node", func() bool { return r.node("n1") != nil })
	failed := make(chan error, 1)
	client := healthgrpc.NewHealthClient(r.node("n1"))
	go func() {
		_, err := client.Check(t.Context(), &healthgrpc.HealthCheckRequest{Service: "wait"})
		failed <- err
	}()
	<-s.began
	p.mu.Lock()
	p.cut = true
	p.mu.Unlock()
	began := time.Now()
	if err := <-failed; status.Code(err) != codes.Unavailable {
		t.Errorf("the call ended with %v", err)
	}
	<-s.ended // the node knows as well
	if took := time.Since(began); took > 12*time.Second {
		t.Errorf("it took %s", took)
	}
	eventually(t, 5*time.Second, "the node to be gone", func() bool { return r.count() == 0 })
}

func TestCertificateSaysWhoANodeIs(t *testing.T) {
	a, foreign := newAuthority(t), newAuthority(t)
	connected := make(chan string, 10)
	pair := a.issue(t, "localhost")
	tcp, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	l := link.NewListener(link.ListenerConfig{
		TLS:      &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool},
		Identify: link.Certificate,
		Connect:  func(node string, _ grpc.ClientConnInterface) func() { connected <- node; return func() {} },
	})
	ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), klog.Logger{}))
	ended := make(chan error, 1)
	go func() { ended <- l.Serve(ctx, tcp) }()
	t.Cleanup(func() { cancel(); <-ended })
	_, port, _ := net.SplitHostPort(tcp.Addr().String())
	start := func(name string, certificates ...tls.Certificate) {
		server, _ := newServer(t)
		ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), klog.Logger{}))
		done := make(chan struct{})
		go func() {
			defer close(done)
			link.Dialer{Address: "localhost:" + port, Node: name, Server: server,
				TLS: func() (*tls.Config, error) { return &tls.Config{RootCAs: a.pool, Certificates: certificates}, nil }}.Run(ctx)
		}()
		t.Cleanup(func() { cancel(); <-done })
	}
	start("none")
	start("foreign", foreign.issue(t, "foreign"))
	start("other", a.issue(t, "n1"))
	start("both", a.issue(t, "both", "n1"))
	start("n2", a.issue(t, "n2"))
	if got := <-connected; got != "n2" {
		t.Errorf("%s got in", got)
	}
	select {
	case got := <-connected:
		t.Errorf("%s got in", got)
	case <-time.After(time.Second): // in which each has tried a few times
	}
}

// A thousand nodes lose their controller and find the next one.
func TestThousandNodesAreBackWithinSeconds(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	const nodes = 1000
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	for i := range nodes {
		server, _ := newServer(t)
		dial(t, a, r.address, fmt.Sprintf("n%d", i), server)
	}
	first := eventually(t, 2*time.Minute, "all nodes", func() bool { return r.count() == nodes })
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	r.stop()
	again := listen(t, a, r.address)
	back := eventually(t, 2*time.Minute, "all nodes to be back", func() bool { return again.count() == nodes })
	fmt.Printf("count: 1,000 nodes over TLS: connected in %s, back %s after a restart of the controller, %d MiB for both sides of the connections\n",
		first.Round(time.Millisecond), back.Round(time.Millisecond), m.Sys>>20)
}
