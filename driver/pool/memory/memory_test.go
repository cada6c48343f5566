package memory_test

import (
	"testing"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/pool/pooltest"
	"github.com/loam-storage/loam/driver/volume"
)

func TestMemoryPoolKeepsTheContract(t *testing.T) {
	var p *memory.Pool // the one that is tested now
	damage := func(_ *testing.T, id volume.ID) func() {
		p.Damage(id, "a test has damaged it")
		return func() { p.Damage(id, "") }
	}
	pooltest.Run(t, pooltest.Options{Node: "n1", Untried: true, New: func(t *testing.T) pool.Pool {
		p = memory.New("fast", "n1", 256*volume.MiB)
		t.Cleanup(func() { _ = p.Close() })
		return p
	}, Damages: []pooltest.Damage{{Name: "told", Volume: damage, Snapshot: damage}}})
}
