package node_test

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/loam-storage/loam/driver/volume"
)

// A node that is drained, or comes back, has all its volumes to unstage or stage in one moment: here 300, of which 100 are
// asked for at once. None may be refused because of what is done for another one.
func TestManyVolumesAreStagedAndUnstagedAtOnce(t *testing.T) {
	const many, atOnce = 300, 100
	m := newReal(t)
	names := make([]string, many)
	for i := range names {
		names[i] = fmt.Sprintf("v%03d", i)
		_, err := m.pool.Create(t.Context(), volume.Spec{ID: m.id(names[i]), Size: volume.Range{RequiredBytes: 4 * volume.MiB}})
		m.ok("Create", err)
		m.ok("make a directory", os.Mkdir(m.path("staging-"+names[i]), 0o750))
	}
	stage := func(name string) error { return m.stage(name, mount("ext4")) }
	for _, round := range []struct {
		what string
		do   func(name string) error
	}{{"stage", stage}, {"unstage", m.unstage}} {
		for text, n := range abreast(names, atOnce, round.do) {
			t.Errorf("%s: %d of %d failed: %s", round.what, n, many, text)
		}
	}
}

// abreast calls do with each name, so many at a time, and counts what failed by what it said.
func abreast(names []string, atOnce int, do func(string) error) map[string]int {
	queue, failed := make(chan string), map[string]int{}
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for name := range queue {
				if err := do(name); err != nil {
					mu.Lock()
					failed[err.Error()]++
					mu.Unlock()
				}
			}
		})
	}
	for _, name := range names {
		queue <- name
	}
	close(queue)
	workers.Wait()
	return failed
}
