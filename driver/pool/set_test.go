package pool_test

import (
	"testing"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
)

func TestASetFindsItsPools(t *testing.T) {
	slow, fast := memory.New("slow", "n1", volume.GiB), memory.New("fast", "n1", volume.GiB)
	set, err := pool.NewSet("n1", slow, fast)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := set.Named(""); err != nil || p != pool.Pool(slow) {
		t.Errorf("without a name: %v, %v; want the first pool", p, err)
	}
	if p, err := set.Named("fast"); err != nil || p != pool.Pool(fast) {
		t.Errorf("by name: %v, %v", p, err)
	}
	if _, err := set.Named("none"); !volume.Is(err, volume.Invalid) {
		t.Errorf("an unknown name: %v", err)
	}
	if sorted := set.Sorted(); sorted[0].Name() != "fast" || sorted[1].Name() != "slow" || set.All()[0].Name() != "slow" {
		t.Errorf("the order of names is %s, %s", sorted[0].Name(), sorted[1].Name())
	}
	id := volume.ID{Node: "n1", Pool: "fast", Name: "v"}
	if _, err := fast.Create(t.Context(), volume.Spec{ID: id, Size: volume.Range{RequiredBytes: volume.MiB}}); err != nil {
		t.Fatal(err)
	}
	if p, v, err := set.Find(t.Context(), id.String()); err != nil || p.Name() != "fast" || v.ID != id {
		t.Errorf("Find = %v, %+v, %v", p, v, err)
	}
	for _, handle := range []string{"n1/slow/v", "n1/none/v", "n2/fast/v", "v", ""} {
		if _, _, err := set.Find(t.Context(), handle); !volume.Is(err, volume.NotFound) {
			t.Errorf("Find(%q): %v", handle, err)
		}
	}
}

// bare hides what the memory pool can do beyond a Pool.
type bare struct{ pool.Pool }

func TestAPoolWithoutSnapshotsSaysSo(t *testing.T) {
	set, err := pool.NewSet("n1", bare{memory.New("fast", "n1", volume.GiB)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.SnapshotterOf(volume.ID{Node: "n1", Pool: "fast", Name: "s"}); !volume.Is(err, volume.Unsupported) {
		t.Errorf("SnapshotterOf = %v", err)
	}
}

func TestASetIsCheckedWhole(t *testing.T) {
	for name, pools := range map[string][]pool.Pool{
		"none":     nil,
		"bad name": {memory.New("Fast", "n1", volume.GiB)},
		"twice":    {memory.New("fast", "n1", volume.GiB), memory.New("fast", "n1", volume.GiB)},
	} {
		if _, err := pool.NewSet("n1", pools...); !volume.Is(err, volume.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
