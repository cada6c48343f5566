package fleet

import (
	"context"
	"maps"
	"time"
)

// hear waits until the nodes that are connected have said what they have, so that a volume which is there already is
// found. One that does not say in time is left out.
func (f *Fleet) hear(ctx context.Context) {
	since := f.asked()
	for _, n := range f.hearing.deafUntil(time.Now()) {
		n.isDeaf() // which asks it again
	}
	each(f.hearing.behind(since), func(n *node) { f.hearFrom(ctx, n, since) })
	f.sweep()
}

// hearFrom returns once the node has said what it has, asked at since or later. It returns false where the node is not waited for. Where
// a newer connection has replaced that of n, the node is asked over it, for what was asked over the first one ends with that.
func (f *Fleet) hearFrom(ctx context.Context, n *node, since time.Time) bool {
	if n.hear(ctx, since, f.config.Patience) {
		return true
	}
	newer := f.current(n)
	return newer != n && newer.hear(ctx, since, f.config.Patience)
}

// sweepAfter is how long what was on a node that has left is kept before the cluster is asked whether it still has the
// node.
const sweepAfter = 10 * time.Minute

// sweep forgets, from time to time, what was on nodes that the cluster has no more: their names may never come back.
func (f *Fleet) sweep() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.config.Cluster == nil || len(f.away) == 0 || time.Since(f.swept) < sweepAfter {
		return
	}
	f.swept = time.Now()
	away := maps.Clone(f.away)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), sweepAfter)
		defer cancel()
		for name, c := range away {
			if !c.leftSince(time.Now().Add(-sweepAfter)) && f.gone(ctx, name) {
				f.forget(name)
			}
		}
	}()
}

// forget drops what is known of a node that is away.
func (f *Fleet) forget(node string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.away[node]; c != nil {
		c.forget()
	}
	delete(f.away, node)
}

// asked notes that this replica is the one that makes volumes, and returns since when what a node says holds. After a
// pause that is from now on, for another replica may have made some.
func (f *Fleet) asked() (since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if now.Sub(f.active) > f.config.Quiet {
		f.since = now
	}
	f.active = now
	return f.since
}

// ended notes it once more, when a caller is there to get the answer.
func (f *Fleet) ended() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = time.Now()
}
