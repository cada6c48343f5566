package link

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// strangers counts connections of those who have not said who they are. Whoever never does keeps his place for
// shortestStay at least, even if he leaves at once: so that a TLS handshake, which costs more here than there, can be
// asked for only so many times a second.
type strangers struct {
	mu    sync.Mutex
	left  sync.Cond // of mu: a place was given back
	total int
	of    map[string]int // by what addressOf says
	all   map[net.Conn]stranger
}

type stranger struct {
	address string
	came    time.Time
}

const shortestStay = time.Second

func newStrangers() *strangers {
	s := &strangers{of: map[string]int{}, all: map[net.Conn]stranger{}}
	s.left.L = &s.mu
	return s
}

// admit reports whether there may be one more from this address. Where all places are taken it waits for one, which takes seconds at
// most, and further ones wait with the kernel: nodes that all come back at once would be turned away again and again otherwise.
func (s *strangers) admit(c net.Conn) bool {
	address := addressOf(c.RemoteAddr())
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.total >= maxStrangers && s.of[address] < maxPerAddress {
		s.left.Wait()
	}
	if s.of[address] >= maxPerAddress {
		return false
	}
	s.total++
	s.of[address]++
	s.all[c] = stranger{address, time.Now()}
	return true
}

// addressOf returns whose connections are counted together: an IPv4 address, or the /64 of an IPv6 one, of which whoever
// has one has all (RFC 4291, 2.5.1).
func addressOf(remote net.Addr) string {
	from, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return remote.String()
	}
	address := from.Addr().Unmap().WithZone("")
	if address.Is4() {
		return address.String()
	}
	network, err := address.Prefix(64)
	if err != nil {
		return address.String()
	}
	return network.String()
}

// forget is for one who has said who he is, or has gone.
func (s *strangers) forget(c net.Conn, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, counted := s.all[c]
	if !counted {
		return
	}
	delete(s.all, c)
	if left := time.Until(one.came.Add(shortestStay)); left > 0 && !known {
		time.AfterFunc(left, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.release(one.address)
		})
		return
	}
	s.release(one.address)
}

// release gives a place back. The caller holds mu.
func (s *strangers) release(address string) {
	s.total--
	s.left.Signal()
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
		s.forget(c, state == http.StateHijacked)
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
