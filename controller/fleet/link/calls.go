package link

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// calls counts the calls at work on a connection, so that it can end after the last one.
type calls struct {
	mu     sync.Mutex
	open   int
	closed bool
	then   []func() // once open is 0
}

var errEnded = status.Error(codes.Unavailable, "the connection to the node has ended: call again once it is back")

func (c *calls) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errEnded
	}
	c.open++
	return nil
}

func (c *calls) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	c.check()
}

// afterLast has f called as soon as no call is at work. f must not wait.
func (c *calls) afterLast(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.then = append(c.then, f)
	c.check()
}

// close refuses calls from now on, and waits for those at work, which end with the connection. A client that is
// closed before they have would say of them that somebody canceled them.
func (c *calls) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	last := make(chan struct{})
	c.afterLast(func() { close(last) })
	<-last
}

func (c *calls) check() {
	if c.open > 0 {
		return
	}
	for _, f := range c.then {
		f()
	}
	c.then = nil
}

func (c *calls) unary(ctx context.Context, method string, req, reply any, client *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if err := c.begin(); err != nil {
		return err
	}
	defer c.end()
	return invoke(ctx, method, req, reply, client, opts...)
}

func (c *calls) stream(ctx context.Context, desc *grpc.StreamDesc, client *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	end := sync.OnceFunc(c.end)
	s, err := open(ctx, desc, client, method, append(opts, grpc.OnFinish(func(error) { end() }))...)
	if err != nil {
		end()
	}
	return s, err
}
