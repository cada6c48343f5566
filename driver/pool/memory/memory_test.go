package memory_test

import (
	"testing"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/pool/pooltest"
	"github.com/loam-storage/loam/driver/volume"
)

func TestMemoryPoolKeepsTheContract(t *testing.T) {
	pooltest.Run(t, pooltest.Options{Node: "n1", Untried: true, New: func(t *testing.T) pool.Pool {
		p := memory.New("fast", "n1", 256*volume.MiB)
		t.Cleanup(func() { _ = p.Close() })
		return p
	}})
}
