package controller

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/loam-storage/loam/driver/inventory"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// Inventory tells the controller of a cluster what is in the pools of this machine.
type Inventory struct {
	inventory.UnimplementedInventoryServer
	pools *pool.Set

	mu      sync.Mutex
	hanging map[string]int // how many reads of a pool take longer than readPatience
}

// NewInventory returns the service over the given pools.
func NewInventory(pools *pool.Set) *Inventory {
	return &Inventory{pools: pools, hanging: map[string]int{}}
}

// readPatience is how long a pool is waited for. A controller waits for the whole answer for 10 s.
const readPatience = 5 * time.Second

const (
	// mostNames is how many names a page has at most, of some 60 bytes: a message of gRPC is at most 4 MiB.
	mostNames = 10_000
	// mostReason is how many bytes the reason has at most why a pool cannot be read.
	mostReason = 1000
)

// The two kinds of names in a pool, in the order in which they are told, as tokens have them.
const (
	volumesFirst  = "volumes"
	snapshotsThen = "snapshots"
)

// position is how far a listing has come: behind a name of that kind in that pool.
type position struct{ pool, kind, after string }

// parsePosition reads a token. The kind of its error is Busy (ABORTED), which tells the caller to begin again.
func parsePosition(token string) (position, error) {
	if token == "" {
		return position{kind: volumesFirst}, nil
	}
	parts := strings.SplitN(token, "/", 3)
	if len(parts) != 3 || (parts[1] != volumesFirst && parts[1] != snapshotsThen) {
		return position{}, volume.Errorf(volume.Busy, "token %.128q is none that this node gave: list again from the start", token)
	}
	return position{pool: parts[0], kind: parts[1], after: parts[2]}, nil
}

func (p position) String() string { return p.pool + "/" + p.kind + "/" + p.after }

// ListInventory returns a page of what is in the pools, in the order of the names of the pools.
func (s *Inventory) ListInventory(ctx context.Context, req *inventory.ListInventoryRequest) (*inventory.ListInventoryResponse, error) {
	at, err := parsePosition(req.GetToken())
	if err != nil {
		return nil, err
	}
	left := mostNames
	if n := int(req.GetMaxNames()); n > 0 {
		left = min(n, mostNames)
	}
	answer := &inventory.ListInventoryResponse{DefaultPool: s.pools.All()[0].Name()}
	for _, p := range s.pools.Sorted() {
		if p.Name() < at.pool {
			continue
		}
		if p.Name() != at.pool {
			at = position{pool: p.Name(), kind: volumesFirst}
		}
		one, next, err := s.read(ctx, p, at, left)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			one.Unreadable = volume.Printable(err.Error(), mostReason)
		}
		answer.Pools = append(answer.Pools, one)
		if left -= len(one.GetVolumes()) + len(one.GetSnapshots()); next != nil {
			answer.NextToken = next.String()
			break
		}
	}
	return answer, nil
}

// read is inventoryOf for a pool whose disk may hang. That keeps nobody from learning what is in the others, and while one read does not
// end no further one is begun. The kind of its error is Unavailable then.
func (s *Inventory) read(ctx context.Context, p pool.Pool, at position, limit int) (*inventory.Pool, *position, error) {
	silent := func() (*inventory.Pool, *position, error) {
		return &inventory.Pool{Name: p.Name()}, nil, volume.Errorf(volume.Unavailable, "pool %q: its disk does not answer within %s", p.Name(), readPatience)
	}
	if s.hangs(p, 0) {
		return silent()
	}
	var one *inventory.Pool
	var next *position
	var err error
	var panicked any
	late, done := make(chan struct{}), make(chan struct{})
	timer := time.AfterFunc(readPatience, func() {
		s.hangs(p, 1)
		close(late)
	})
	go func() {
		defer close(done)
		defer func() {
			panicked = recover() // for who waits
			if !timer.Stop() {
				<-late
				s.hangs(p, -1)
			}
		}()
		one, next, err = inventoryOf(ctx, p, at, limit)
	}()
	select {
	case <-done:
		if panicked != nil {
			panic(panicked)
		}
		return one, next, err
	case <-late:
		return silent()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// hangs reports whether reads of a pool take too long, so many more of them than before.
func (s *Inventory) hangs(p pool.Pool, more int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hanging[p.Name()] += more
	return s.hanging[p.Name()] > 0
}

// inventoryOf returns at most limit names of a pool, and where the next page begins; nil where the pool has no further ones.
func inventoryOf(ctx context.Context, p pool.Pool, at position, limit int) (one *inventory.Pool, next *position, err error) {
	one = &inventory.Pool{Name: p.Name()}
	if at.kind == volumesFirst {
		found, err := p.List(ctx, at.after, limit+1) // one more tells whether there is a further page
		if err != nil {
			return one, nil, err
		}
		for _, v := range found[:min(len(found), limit)] {
			one.Volumes = append(one.Volumes, v.ID.Name)
		}
		if len(found) > limit {
			return one, &position{p.Name(), volumesFirst, last(one.Volumes, at.after)}, nil
		}
		at, limit = position{pool: p.Name(), kind: snapshotsThen}, limit-len(found)
	}
	found, err := everySnapshot(ctx)(p, at.after, limit+1)
	if err != nil {
		return one, nil, err
	}
	for _, sn := range found[:min(len(found), limit)] {
		one.Snapshots = append(one.Snapshots, sn.ID.Name)
	}
	if len(found) > limit {
		return one, &position{p.Name(), snapshotsThen, last(one.Snapshots, at.after)}, nil
	}
	return one, nil, nil
}

// last returns the last name, or before where there is none.
func last(names []string, before string) string {
	if len(names) == 0 {
		return before
	}
	return names[len(names)-1]
}
