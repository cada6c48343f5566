package link_test

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// deaf is a connection through which nothing passes any more once it is cut.
type deaf struct {
	listener net.Listener
	mu       sync.Mutex
	cut      bool
	through  []net.Conn
	sent     bytes.Buffer // by the first who connected
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
		var first net.Conn
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			if first == nil {
				first = in
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			t.Cleanup(func() { _, _ = in.Close(), out.Close() })
			p.mu.Lock()
			p.through = append(p.through, in, out)
			p.mu.Unlock()
			pass := func(from, to net.Conn) {
				buffer := make([]byte, 4096)
				for {
					n, err := from.Read(buffer)
					p.mu.Lock()
					cut := p.cut
					if first == from {
						p.sent.Write(buffer[:n])
					}
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

// reset ends the connections that there are.
func (p *deaf) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.through {
		_ = c.Close()
	}
}

// behindProxy connects a node, "n1", to a replica through a proxy.
func behindProxy(t *testing.T) (*replica, *deaf, *service) {
	t.Helper()
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	server, s := newServer(t)
	p := proxy(t, r.address)
	dial(t, a, p.listener.Addr().String(), "n1", server)
	eventually(t, 30*time.Second, "the node", func() bool { return r.node("n1") != nil })
	return r, p, s
}

func TestDeadPeerIsKnownWithinSeconds(t *testing.T) {
	t.Parallel()
	r, p, s := behindProxy(t)
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
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	eventually(t, 30*time.Second, "the node to be gone", func() bool { return r.count() == 0 })
}

func TestCallsOfANodeThatLeavesAreUnavailable(t *testing.T) {
	t.Parallel()
	r, p, _ := behindProxy(t)
	client := healthgrpc.NewHealthClient(r.node("n1"))
	var called, done sync.WaitGroup
	for range 30 {
		called.Add(1)
		done.Go(func() {
			_, err := client.Check(t.Context(), &healthgrpc.HealthCheckRequest{})
			called.Done()
			for err == nil {
				_, err = client.Check(t.Context(), &healthgrpc.HealthCheckRequest{})
			}
			if status.Code(err) != codes.Unavailable {
				t.Errorf("a call ended with %v", err)
			}
		})
	}
	called.Wait()
	p.reset()
	done.Wait()
	eventually(t, 30*time.Second, "the node to be back", func() bool { return r.node("n1") != nil })
	if _, err := client.Check(t.Context(), &healthgrpc.HealthCheckRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("a call on what the node had before ended with %v", err)
	}
}
