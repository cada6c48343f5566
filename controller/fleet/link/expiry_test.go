package link_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/loam-storage/loam/controller/fleet/link"
)

// A node proves who it is again before the controller believes it no longer, and no call notices.
func TestNodeProvesItselfAgainWithoutACallThatFails(t *testing.T) {
	a := newAuthority(t)
	r := (&replica{authority: a, holds: 3 * time.Second}).listen(t, "localhost:0")
	server, _ := newServer(t)
	dial(t, a, r.address, "n1", server)
	eventually(t, 30*time.Second, "the node", func() bool { return r.node("n1") != nil })
	eventually(t, time.Minute, "four connections, of which three have ended", func() bool {
		n := r.node("n1")
		if n == nil {
			t.Fatal("the node was not connected for a while")
		}
		if _, err := healthgrpc.NewHealthClient(n).Check(t.Context(), &healthgrpc.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.came >= 4 && r.went >= 3
	})
	if n := r.log.count("holds no longer"); n != 0 {
		t.Errorf("%d connections were ended because what they proved had expired", n)
	}
}

// shake opens a connection as a node that says nothing further, and returns what ends with it.
func (r *replica) shake(t *testing.T, name string, certificates ...tls.Certificate) (c *tls.Conn, status int) {
	t.Helper()
	c, err := tls.Dial("tcp", r.address, &tls.Config{RootCAs: r.authority.pool, ServerName: "localhost", NextProtos: []string{"http/1.1"}, Certificates: certificates})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	req := &http.Request{Method: http.MethodGet, Host: "localhost", URL: &url.URL{Path: "/connect"},
		Header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"loam"}, "Loam-Node": {name}, "Authorization": {"Bearer token-of-" + name}}}
	if err := req.Write(c); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), req)
	if err != nil {
		t.Fatal(err)
	}
	return c, resp.StatusCode
}

// ends waits until the other side has ended a connection on which pings are answered.
func ends(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	go func() { // a ping of HTTP/2 a second, so that it is not taken for dead
		for {
			if _, err := c.Write([]byte("\x00\x00\x08\x06\x00\x00\x00\x00\x00loamloam")); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}()
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection stays open")
	}
}

// settings is what a server of HTTP/2 says first.
const settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

func TestConnectionEndsWithWhatItProved(t *testing.T) {
	t.Run("token", func(t *testing.T) {
		r := (&replica{authority: newAuthority(t), holds: 2 * time.Second}).listen(t, "localhost:0")
		c, status := r.shake(t, "n1")
		if status != http.StatusSwitchingProtocols {
			t.Fatal(status)
		}
		if _, err := io.WriteString(c, settings); err != nil {
			t.Fatal(err)
		}
		ends(t, c)
		if n := r.log.count("holds no longer"); n != 1 {
			t.Errorf("%d lines of the log say why", n)
		}
	})
	t.Run("certificate", func(t *testing.T) {
		a := newAuthority(t)
		r := &replica{authority: a, clientCAs: func() (*x509.CertPool, error) { return a.pool, nil }}
		r.serve(t, "localhost:0", &tls.Config{Certificates: []tls.Certificate{a.issue(t, "localhost")}}, link.Certificate)
		c, status := r.shake(t, "n1", a.issueFor(t, 3*time.Second, "n1"))
		if status != http.StatusSwitchingProtocols {
			t.Fatal(status)
		}
		if _, err := io.WriteString(c, settings); err != nil {
			t.Fatal(err)
		}
		ends(t, c)
		if n := r.log.count("holds no longer"); n != 1 {
			t.Errorf("%d lines of the log say why", n)
		}
	})
	t.Run("node of the cluster", func(t *testing.T) {
		var gone, away atomic.Bool
		r := &replica{authority: newAuthority(t)}
		r.has = func(context.Context) (map[string]bool, error) {
			if away.Load() {
				return nil, errors.New("the API is away")
			}
			return map[string]bool{"n1": !gone.Load(), "n2": true}, nil
		}
		r.listen(t, "localhost:0")
		for _, name := range []string{"n1", "n2"} {
			server, _ := newServer(t)
			dialOnce(t, r.authority, r.address, name, server)
		}
		eventually(t, 30*time.Second, "the nodes", func() bool { return r.count() == 2 })
		away.Store(true)
		gone.Store(true)
		eventually(t, 30*time.Second, "a line of the log", func() bool { return r.log.count("all stay connected") > 2 })
		if r.count() != 2 {
			t.Error("a node is not connected any more although nobody knows whether the cluster has it")
		}
		away.Store(false)
		eventually(t, 30*time.Second, "the end of the connection", func() bool { return r.node("n1") == nil })
		if r.node("n2") == nil {
			t.Error("the other node is not connected any more")
		}
	})
}

// A node that connects without end has no more than some connections at a time, and no line of the log for each.
func TestOneNodeHasFewConnections(t *testing.T) {
	r := listen(t, newAuthority(t), "localhost:0")
	refused, connected := 0, 0
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	defer calls.Wait()
	defer cancel()
	for range 40 {
		c, status := r.shake(t, "n1")
		switch status {
		case http.StatusSwitchingProtocols:
			if _, err := io.WriteString(c, settings); err != nil {
				t.Fatal(err)
			}
			connected++
			var begun grpc.ClientConnInterface // is called, and does not answer
			eventually(t, 30*time.Second, "the node", func() bool {
				r.mu.Lock()
				defer r.mu.Unlock()
				begun = r.nodes["n1"]
				return r.came == connected
			})
			calls.Go(func() { _, _ = healthgrpc.NewHealthClient(begun).Check(ctx, &healthgrpc.HealthCheckRequest{}) })
		case http.StatusServiceUnavailable:
			refused++
		default:
			t.Fatal(status)
		}
	}
	if refused < 20 {
		t.Errorf("%d of 40 connections at once are refused", refused)
	}
	if _, status := r.shake(t, "n2"); status != http.StatusSwitchingProtocols {
		t.Errorf("another node: %d", status)
	}
	if n := r.log.count("connects too often"); n != 1 {
		t.Errorf("%d lines of the log", n)
	}
}

// Whoever is refused shares the lines of the log with others, whatever is wrong with him.
func TestRefusedNodesShareALineInTheLog(t *testing.T) {
	a := newAuthority(t)
	r := &replica{authority: a, clientCAs: func() (*x509.CertPool, error) { return a.pool, nil }}
	r.serve(t, "localhost:0", &tls.Config{Certificates: []tls.Certificate{a.issue(t, "localhost")}}, link.Certificate)
	other := newAuthority(t)
	for n := range 20 {
		name := fmt.Sprintf("n%d", n)
		if _, status := r.shake(t, name, a.issue(t, "another")); status != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, status)
		}
		c, err := tls.Dial("tcp", r.address, &tls.Config{RootCAs: a.pool, ServerName: "localhost", Certificates: []tls.Certificate{other.issue(t, name)}})
		if err == nil { // the client of TLS 1.3 hears of it when it reads
			_, _ = c.Read(make([]byte, 1))
			_ = c.Close()
		}
	}
	eventually(t, 30*time.Second, "a line of the log", func() bool { return r.log.count("refused a certificate") > 0 })
	r.stop()
	if n := r.log.count("\n"); n > 6 { // a line of each kind in 5 s
		t.Errorf("%d lines", n)
	}
}
