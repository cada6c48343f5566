package link_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"github.com/loam-storage/loam/controller/fleet/link"
	"github.com/loam-storage/loam/driver/volume"
)

// Whatever is begun here ends: connections, servers, clients.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	for range 3000 { // those that have been told to end
		if runtime.NumGoroutine() <= before {
			os.Exit(code)
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println("FAIL: goroutines are left:")
	_ = pprof.Lookup("goroutine").WriteTo(os.Stdout, 1)
	os.Exit(1)
}

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
	return a.issueFor(t, time.Hour, names...)
}

func (a *authority) issueFor(t testing.TB, valid time.Duration, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid), DNSNames: names,
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
	clientCAs func() (*x509.CertPool, error) // nil: nodes need no certificate
	holds     time.Duration                  // for how long a token is good; 0: it does not say
	has       func(context.Context) (map[string]bool, error)
	stop      func()

	log record

	mu    sync.Mutex
	nodes map[string]grpc.ClientConnInterface
	came  int
	went  int
}

// record is a log.
type record struct {
	mu      sync.Mutex
	written bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.written.Write(b)
}

func (r *record) count(text string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.written.String(), text)
}

// listen starts a replica. Whoever shows the token "token of <name>" is that machine, in place of the Kubernetes API.
func listen(t testing.TB, a *authority, address string) *replica {
	t.Helper()
	return (&replica{authority: a}).listen(t, address)
}

func (r *replica) listen(t testing.TB, address string) *replica {
	t.Helper()
	a := r.authority
	r.serve(t, address, &tls.Config{Certificates: []tls.Certificate{a.issue(t, "localhost")}}, func(_ context.Context, req *http.Request, _ string) (link.Proof, error) {
		token, err := link.Bearer(req)
		if err != nil {
			return link.Proof{}, err
		}
		name, ok := strings.CutPrefix(token, "token-of-")
		if token == "nobody-knows" {
			return link.Proof{}, volume.Errorf(volume.Unavailable, "the API is away")
		}
		if !ok {
			return link.Proof{}, volume.Errorf(volume.Invalid, "it is no token")
		}
		proof := link.Proof{Machine: name}
		if r.holds != 0 {
			proof.Until = time.Now().Add(r.holds)
		}
		return proof, nil
	})
	return r
}

// serve takes connections until r.stop.
func (r *replica) serve(t testing.TB, address string, config *tls.Config, identify func(context.Context, *http.Request, string) (link.Proof, error)) {
	t.Helper()
	r.nodes = map[string]grpc.ClientConnInterface{}
	var tcp net.Listener
	eventually(t, 30*time.Second, "the address "+address, func() bool { // which is that of a replica before, or has been lent to somebody since
		var err error
		if tcp, err = net.Listen("tcp", address); err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
		return err == nil
	})
	r.address = tcp.Addr().String()
	l := link.NewListener(link.ListenerConfig{TLS: config, ClientCAs: r.clientCAs, Identify: identify, Nodes: r.has, LookEvery: 20 * time.Millisecond,
		Connect: func(node string, conn grpc.ClientConnInterface) func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.nodes[node] = conn
			r.came++
			return func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.went++
				if r.nodes[node] == conn {
					delete(r.nodes, node)
				}
			}
		},
	})
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&r.log)))))
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
