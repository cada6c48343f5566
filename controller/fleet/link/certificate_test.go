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
	start := func(name string, certificates ...tls.Certificate) (stop func()) {
		server, _ := newServer(t)
		ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), klog.Logger{}))
		done := make(chan struct{})
		go func() {
			defer close(done)
			link.Dialer{Address: "localhost:" + port, Node: name, Server: server,
				TLS: func() (*tls.Config, error) { return &tls.Config{RootCAs: a.pool, Certificates: certificates}, nil }}.Run(ctx)
		}()
		stop = func() { cancel(); <-done }
		t.Cleanup(stop)
		return stop
	}
	start("n2", a.issue(t, "n2"))
	eventually(t, 30*time.Second, "the node", func() bool { return r.node("n2") != nil })
	for _, refused := range []struct {
		node         string
		certificates []tls.Certificate
		why          string
	}{ // one after the other: of all that are refused meanwhile, one gets a line
		{"none", nil, "didn't provide a certificate"},
		{"foreign", []tls.Certificate{foreign.issue(t, "foreign")}, "unknown authority"},
		{"other", []tls.Certificate{a.issue(t, "n1")}, `certificate is that of \"n1\"`},
		{"both", []tls.Certificate{a.issue(t, "both", "n1")}, "has 2 DNS names"},
		{"unnamed", []tls.Certificate{a.issue(t)}, "has 0 DNS names"},
	} {
		stop := start(refused.node, refused.certificates...)
		eventually(t, time.Minute, "a line of the log with "+refused.why, func() bool { return r.log.count(refused.why) > 0 })
		stop()
	}
	r.mu.Lock()
	if r.came != 1 || len(r.nodes) != 1 {
		t.Errorf("%d got in: %v", r.came, r.nodes)
	}
	r.mu.Unlock()
	trusted.Store(foreign.pool) // while it runs
	start("foreign", foreign.issue(t, "foreign"))
	eventually(t, 30*time.Second, "the node of the new authority", func() bool { return r.node("foreign") != nil })
}
