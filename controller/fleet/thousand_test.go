package fleet_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/controller/fleet"
	"github.com/loam-storage/loam/driver/volume"
)

// A thousand nodes of a hundred volumes each: what the controller needs for them, and how fast it is.
func TestThousandNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	const nodes, each = 1000, 100
	before := heap()
	var machines []*machine
	for i := range nodes {
		m := newMachine(t, fmt.Sprintf("node-%04d", i), volume.TiB)
		p := m.pools.All()[0]
		for j := range each {
			id := volume.ID{Node: m.name, Pool: p.Name(), Name: fmt.Sprintf("pvc-%08d-2f6e-4f0a-9d6b-%012d", i, j)}
			if _, err := p.Create(context.Background(), volume.Spec{ID: id, Size: volume.Range{RequiredBytes: volume.MiB}}); err != nil {
				t.Fatal(err)
			}
		}
		machines = append(machines, m)
	}
	own := heap() // of the nodes, which are in this process too
	f := settled(fleet.Config{})
	began := time.Now()
	for _, m := range machines {
		m.connect(t, f)
	}
	if _, err := f.CreateVolume(t.Context(), request("first")); err != nil { // waits until all have been asked
		t.Fatal(err)
	}
	connected := time.Since(began)
	all := 0
	began = time.Now()
	for token := ""; ; {
		page, err := f.ListVolumes(t.Context(), &csi.ListVolumesRequest{StartingToken: token})
		if err != nil {
			t.Fatal(err)
		}
		all += len(page.GetEntries())
		if token = page.GetNextToken(); token == "" {
			break
		}
	}
	listed := time.Since(began)
	if all != nodes*each+1 {
		t.Errorf("%d volumes are listed", all)
	}
	const creates, atOnce = 500, 50
	began = time.Now()
	var workers sync.WaitGroup
	next := make(chan int)
	for range atOnce {
		workers.Go(func() {
			for i := range next {
				if _, err := f.CreateVolume(t.Context(), request(fmt.Sprintf("new-%d", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range creates {
		next <- i
	}
	close(next)
	workers.Wait()
	rate := float64(creates) / time.Since(began).Seconds()
	used := (heap() - own) >> 20
	fmt.Printf("count: 1,000 nodes of 100 volumes: known after %s, listed in %s, %.0f creates a second, %d MiB of heap for both sides of the connections (nodes' own %d MiB)\n",
		connected.Round(time.Millisecond), listed.Round(time.Millisecond), rate, used, (own-before)>>20)
	if used > 400 {
		t.Errorf("the controller needs %d MiB, 400 are allowed", used)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the first one has left what was in pools
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
