package link

import (
	"context"
	"sync"

	"google.golang.org/grpc"
)

// calls counts the calls at work on a connection, so that it can end after the last one.
type calls struct {
	mu   sync.Mutex
	open int
	then func() // once open is 0; nil while more may come
}

func (c *calls) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
}

func (c *calls) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	c.check()
}

// afterLast has f called once no call is at work. f must not wait.
func (c *calls) afterLast(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.then = f
	c.check()
}

func (c *calls) check() {
	if c.open == 0 && c.then != nil {
		c.then()
	}
}

func (c *calls) unary(ctx context.Context, method string, req, reply any, client *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	c.begin()
	defer c.end()
	return invoke(ctx, method, req, reply, client, opts...)
}

func (c *calls) stream(ctx context.Context, desc *grpc.StreamDesc, client *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	c.begin()
	end := sync.OnceFunc(c.end)
	s, err := open(ctx, desc, client, method, append(opts, grpc.OnFinish(func(error) { end() }))...)
	if err != nil {
		end()
	}
	return s, err
}
