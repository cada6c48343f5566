package link

import (
	"bufio"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a connection that is read through what was read ahead of it, and that says when it has ended.
type conn struct {
	net.Conn
	reader  *bufio.Reader // nil once it has nothing left
	silence time.Duration // how long a read may get nothing; 0: for ever
	until   time.Time     // on a node: when the controller no longer believes what it was shown; zero: it did not say

	once  sync.Once
	ended chan struct{}
}

func newConn(c net.Conn, reader *bufio.Reader, silence time.Duration) *conn {
	return &conn{Conn: c, reader: reader, silence: silence, ended: make(chan struct{})}
}

func (c *conn) Read(b []byte) (int, error) {
	if c.reader != nil {
		if c.reader.Buffered() > 0 {
			return c.reader.Read(b[:min(len(b), c.reader.Buffered())])
		}
		c.reader = nil
	}
	if c.silence > 0 {
		if err := c.SetReadDeadline(time.Now().Add(c.silence)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(b)
	if err != nil {
		_ = c.Close()
	}
	return n, err
}

func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.ended) })
	return err
}

// single is a net.Listener that has one connection to give.
type single struct {
	conn   *conn
	given  bool
	once   sync.Once
	closed chan struct{}
}

func newSingle(c *conn) *single { return &single{conn: c, closed: make(chan struct{})} }

func (l *single) Accept() (net.Conn, error) {
	if !l.given {
		l.given = true
		return l.conn, nil
	}
	select {
	case <-l.conn.ended:
	case <-l.closed:
	}
	return nil, net.ErrClosed
}

// Close is called by a server that stops. The connection ends when its calls have.
func (l *single) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *single) Addr() net.Addr { return l.conn.LocalAddr() }

// once gives a gRPC client its connection, and no second one.
func once(c *conn) func(context.Context, string) (net.Conn, error) {
	var given atomic.Bool
	return func(context.Context, string) (net.Conn, error) {
		if given.Swap(true) {
			return nil, net.ErrClosed
		}
		return c, nil
	}
}
