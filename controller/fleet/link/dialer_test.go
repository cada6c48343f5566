package link_test

import (
	"context"
	"crypto/tls"
	"net"
	"syscall"
	"testing"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"github.com/loam-storage/loam/controller/fleet/link"
)

// logged starts a node, "n1", and returns its log.
func logged(t *testing.T, a *authority, address string) *record {
	t.Helper()
	server, _ := newServer(t)
	said := &record{}
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(said)))))
	done := make(chan struct{})
	go func() {
		defer close(done)
		link.Dialer{Address: address, Node: "n1", Server: server,
			TLS:   func() (*tls.Config, error) { return &tls.Config{RootCAs: a.pool, ServerName: "localhost"}, nil },
			Token: func() (string, error) { return "token-of-n1", nil },
		}.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return said
}

func TestEachDisconnectionIsLogged(t *testing.T) {
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	p := proxy(t, r.address)
	said := logged(t, a, p.listener.Addr().String())
	for times := 1; times <= 3; times++ {
		eventually(t, 30*time.Second, "the node", func() bool { return said.count("\"connected to the controller\"") == times && r.count() == 1 })
		p.reset()
		eventually(t, 30*time.Second, "the end in the log", func() bool { return said.count("the connection has ended") == times })
	}
}

// An address that was a pod's may swallow all that is sent to it.
func TestAddressThatDoesNotAnswerIsGivenUpSoon(t *testing.T) {
	t.Parallel()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil { // nobody accepts
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: bound.(*syscall.SockaddrInet4).Port}).String()
	for full := false; !full; {
		c, err := net.DialTimeout("tcp", address, 500*time.Millisecond)
		if full = err != nil; !full {
			defer c.Close()
		}
	}
	said := logged(t, newAuthority(t), address)
	eventually(t, 30*time.Second, "the address to be given up", func() bool { return said.count("does not answer: no connection within 3s") == 1 })
}
