package controller_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/controller"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
)

// counting is a pool of many volumes that answers a page without any work, and counts what it is
// asked for.
type counting struct {
	pool.Pool
	volumes         []volume.Volume
	calls, answered int
}

func newCounting(name string, volumes int) *counting {
	c := &counting{Pool: memory.New(name, node, volume.GiB)}
	for i := range volumes {
		c.volumes = append(c.volumes, volume.Volume{ID: volume.ID{Node: node, Pool: name, Name: fmt.Sprintf("pvc-%06d", i)}, Size: volume.GiB})
	}
	return c
}

func (c *counting) List(_ context.Context, after string, limit int) ([]volume.Volume, error) {
	c.calls++
	from, found := slices.BinarySearchFunc(c.volumes, after, func(v volume.Volume, name string) int { return strings.Compare(v.ID.Name, name) })
	if found {
		from++
	}
	to := len(c.volumes)
	if limit > 0 {
		to = min(to, from+limit)
	}
	c.answered += to - from
	return c.volumes[from:to], nil
}

func TestAPageCostsTheSameHoweverManyVolumesThereAre(t *testing.T) {
	const page = 500
	cost := map[int]float64{}
	for _, count := range []int{1000, 10000} {
		p := newCounting("fast", count)
		m := machineWith(t, controller.Config{}, p)
		middle := handle("fast", p.volumes[count/4].ID.Name)
		cost[count] = testing.AllocsPerRun(10, func() {
			answer, err := m.ListVolumes(t.Context(), &csi.ListVolumesRequest{MaxEntries: page, StartingToken: middle})
			if err != nil || len(answer.GetEntries()) != page {
				t.Errorf("%d entries, %v", len(answer.GetEntries()), err)
			}
		})
	}
	if cost[10000] > 1.1*cost[1000] || cost[10000] > 20*page {
		t.Errorf("allocations per page of %d: %v", page, cost)
	}
	a, b := newCounting("a", 10000), newCounting("b", 10000)
	pages := len(walk(t, machineWith(t, controller.Config{}, b, a).volumePage(page), func([]string) {}).pages)
	if calls, answered := a.calls+b.calls, a.answered+b.answered; pages != 40 || calls > pages+2 || answered > pages*(page+1) {
		t.Errorf("%d pages of %d took %d calls and %d volumes", pages, page, calls, answered)
	}
}
