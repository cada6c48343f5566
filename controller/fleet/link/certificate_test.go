package link_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/controller/fleet/link"
)

func TestCertificateSaysWhoANodeIs(t *testing.T) {
	a, foreign := newAuthority(t), newAuthority(t)
	r := &replica{authority: a}
	var trusted atomic.Pointer[x509.CertPool]
	trusted.Store(a.pool)
	r.clientCAs = func() (*x509.CertPool, error) { return trusted.Load(), nil }
	r.serve(t, "localhost:0", &tls.Config{Certificates: []tls.Certificate{a.issue(t, "localhost")}}, link.Certificate)
	_, port, _ := net.SplitHostPort(r.address)
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
	start("unnamed", a.issue(t))
	eventually(t, 30*time.Second, "the node", func() bool { return r.node("n2") != nil })
	for _, why := range []string{"didn't provide a certificate", "unknown authority", `certificate is that of \"n1\"`, "has 2 DNS names", "has 0 DNS names"} {
		eventually(t, 30*time.Second, "a line of the log with "+why, func() bool { return r.log.count(why) > 0 })
	}
	r.mu.Lock()
	if r.came != 1 || len(r.nodes) != 1 {
		t.Errorf("%d got in: %v", r.came, r.nodes)
	}
	r.mu.Unlock()
	trusted.Store(foreign.pool) // while it runs
	eventually(t, 30*time.Second, "the node of the new authority", func() bool { return r.node("foreign") != nil })
}
