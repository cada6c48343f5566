package link

import (
	"net"
	"net/http"
	"sync"
)

// strangers counts connections of those who have not said who they are.
type strangers struct {
	mu     sync.Mutex
	total  int
	of     map[string]int // by address
	counts map[net.Conn]string
}

func newStrangers() *strangers {
	return &strangers{of: map[string]int{}, counts: map[net.Conn]string{}}
}

// admit reports whether there may be one more from this address.
func (s *strangers) admit(c net.Conn) bool {
	address, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		address = c.RemoteAddr().String()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= maxStrangers || s.of[address] >= maxPerAddress {
		return false
	}
	s.total++
	s.of[address]++
	s.counts[c] = address
	return true
}

// forget is for one who has said who he is, or has gone.
func (s *strangers) forget(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	address, counted := s.counts[c]
	if !counted {
		return
	}
	delete(s.counts, c)
	s.total--
	if s.of[address]--; s.of[address] == 0 {
		delete(s.of, address)
	}
}

// state follows the connections of an http.Server.
func (s *strangers) state(c net.Conn, state http.ConnState) {
	if state == http.StateHijacked || state == http.StateClosed {
		if inner, ok := c.(interface{ NetConn() net.Conn }); ok { // a tls.Conn
			c = inner.NetConn()
		}
		s.forget(c)
	}
}

// guarded is a net.Listener that turns away whom strangers does not admit.
type guarded struct {
	net.Listener
	strangers *strangers
}

func (g *guarded) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			if raw, err := tcp.SyscallConn(); err == nil {
				_ = dropWhenSilent("", "", raw)
			}
		}
		if g.strangers.admit(c) {
			return c, nil
		}
		_ = c.Close()
	}
}
