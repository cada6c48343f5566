package fleet

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/driver/inventory"
)

// connection is one of a node, over which invoke makes the calls.
type connection struct {
	grpc.ClientConnInterface
	invoke func(ctx context.Context, answer *inventory.ListInventoryResponse) error
}

func (c *connection) Invoke(ctx context.Context, _ string, _, answer any, _ ...grpc.CallOption) error {
	return c.invoke(ctx, answer.(*inventory.ListInventoryResponse))
}

// A node proves from time to time who it is, over a new connection, and the one before ends between two pages of what it has.
func TestNodeThatConnectsAnewWhileItIsAskedIsHeard(t *testing.T) {
	f := New(Config{Settle: time.Nanosecond})
	volumes := &inventory.ListInventoryResponse{DefaultPool: "fast", Pools: []*inventory.Pool{{Name: "fast", Volumes: []string{"v"}}}}
	asked := make(chan struct{})
	first := &connection{invoke: func(ctx context.Context, _ *inventory.ListInventoryResponse) error {
		close(asked)
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}}
	said := make(chan struct{})
	second := &connection{invoke: func(_ context.Context, answer *inventory.ListInventoryResponse) error {
		defer close(said)
		answer.DefaultPool, answer.Pools = volumes.DefaultPool, volumes.Pools
		return nil
	}}
	since := time.Now()
	gone := f.Connect("a", first)
	n := f.members()[0]
	<-asked
	defer f.Connect("a", second)()
	<-said
	gone()
	if !f.hearFrom(t.Context(), n, since) || !n.contents.holds(aVolume("v")) {
		t.Error("what the node has is not known, and nobody waited for it")
	}
}

// A connection that fails while none replaces it is waited for no longer.
func TestNodeWhoseConnectionFailsIsNotWaitedFor(t *testing.T) {
	f := New(Config{Settle: time.Nanosecond, Patience: time.Hour})
	defer f.Connect("a", &connection{invoke: func(context.Context, *inventory.ListInventoryResponse) error {
		return status.Error(codes.Unavailable, "away")
	}})()
	f.hear(t.Context())
}
