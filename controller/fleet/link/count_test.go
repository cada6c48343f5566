package link_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// A thousand nodes lose their controller and find the next one.
func TestThousandNodesAreBackWithinSeconds(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	const nodes = 1000
	a := newAuthority(t)
	r := listen(t, a, "localhost:0")
	for i := range nodes {
		server, _ := newServer(t)
		dial(t, a, r.address, fmt.Sprintf("n%d", i), server)
	}
	first := eventually(t, 5*time.Minute, "all nodes", func() bool { return r.count() == nodes })
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	r.stop()
	again := listen(t, a, r.address)
	back := eventually(t, 5*time.Minute, "all nodes to be back", func() bool { return again.count() == nodes })
	fmt.Printf("count: 1,000 nodes over TLS: connected in %s, back %s after a restart of the controller, %d MiB for both sides of the connections\n",
		first.Round(time.Millisecond), back.Round(time.Millisecond), m.Sys>>20)
}
