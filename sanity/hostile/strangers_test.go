package hostile_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// attack goes on with what name says until there is nothing more to read from standard input, and writes how often it did.
func attack(name, address string, of certificates) error {
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		defer stop()
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	if lie := lies()[name]; lie != nil {
		return beHostile(ctx, address, of, lie)
	}
	do := strangers()[name]
	if do == nil {
		return fmt.Errorf("there is no attack %q", name)
	}
	s := &stranger{address: address, of: of}
	var attempts atomic.Int64
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			for ctx.Err() == nil {
				attempts.Add(1)
				if do(ctx, s) != nil { // it was turned away
					select {
					case <-ctx.Done():
					case <-time.After(10 * time.Millisecond):
					}
				}
			}
		})
	}
	all.Wait()
	fmt.Println(attempts.Load())
	return nil
}

// stranger connects from an address that no node has.
type stranger struct {
	address string
	of      certificates
}

// dial opens a connection that ends with ctx.
func (s *stranger) dial(ctx context.Context) (net.Conn, func(), error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)}, Timeout: 5 * time.Second}
	c, err := dialer.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	return c, func() { stop(); _ = c.Close() }, nil
}

// strangers are the attacks of those who cannot say who they are, as what one of a hundred of them does once.
func strangers() map[string]func(context.Context, *stranger) error {
	return map[string]func(context.Context, *stranger) error{
		"half a handshake": func(ctx context.Context, s *stranger) error {
			return s.says(ctx, []byte("\x16\x03\x01\x04\x00\x01\x00\x03\xfc\x03\x03half"), 0)
		},
		"garbage": func(ctx context.Context, s *stranger) error {
			garbage := make([]byte, 64<<10)
			_, _ = rand.Read(garbage)
			return s.says(ctx, garbage, 0)
		},
		"a slow hello": func(ctx context.Context, s *stranger) error {
			return s.says(ctx, []byte("\x16\x03\x01\x04\x00\x01\x00\x03\xfc\x03\x03"+strings.Repeat("r", 1000)), 50*time.Millisecond)
		},
		"a flood of connections": func(ctx context.Context, s *stranger) error {
			_, end, err := s.dial(ctx)
			if err == nil {
				end()
			}
			return err
		},
		"a certificate of somebody else": func(ctx context.Context, s *stranger) error {
			return s.hello(ctx, certificates{s.of.path("others")}, "GET /connect HTTP/1.1\r\nHost: c\r\nConnection: Upgrade\r\nUpgrade: loam\r\nLoam-Node: evil\r\n\r\n")
		},
		"the name of another node": func(ctx context.Context, s *stranger) error {
			return s.hello(ctx, s.of, "GET /connect HTTP/1.1\r\nHost: c\r\nConnection: Upgrade\r\nUpgrade: loam\r\nLoam-Node: n1\r\nAuthorization: Bearer "+strings.Repeat("x\x1b", 4000)+"\r\n\r\n")
		},
		"headers without end": func(ctx context.Context, s *stranger) error {
			return s.hello(ctx, s.of, "GET /connect HTTP/1.1\r\nHost: c\r\n"+strings.Repeat("Loam-Node: "+strings.Repeat("n", 1000)+"\r\n", 100))
		},
	}
}

// says sends something that is no TLS, at once or a byte each pause, and waits until the other side has had enough.
func (s *stranger) says(ctx context.Context, what []byte, pause time.Duration) error {
	c, end, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer end()
	if pause == 0 {
		_, _ = c.Write(what)
	}
	for i := 0; pause > 0 && i < len(what) && ctx.Err() == nil; i++ {
		if _, err := c.Write(what[i : i+1]); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	_, err = io.Copy(io.Discard, c)
	return err
}

// hello says something over TLS, with the certificate of the node "evil", and reads what is answered.
func (s *stranger) hello(ctx context.Context, of certificates, what string) error {
	config, err := of.of("evil")
	if err != nil {
		return err
	}
	trusted, err := s.of.of("evil")
	if err != nil {
		return err
	}
	config.RootCAs = trusted.RootCAs
	c, end, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer end()
	over := tls.Client(c, config)
	if err := over.HandshakeContext(ctx); err != nil {
		return err
	}
	if _, err := io.WriteString(over, what); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, over)
	return err
}
