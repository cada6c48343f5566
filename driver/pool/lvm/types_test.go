package lvm_test

import (
	"fmt"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// Of every type, the largest volume that Status promises can be made, and what a volume starts with and
// grows by, attached or not, is zeros, although it was somebody else's before.
func TestTypesOfThickVolumes(t *testing.T) {
	for _, k := range kinds() {
		if k.config.ThinPool != "" {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			k.prepare(t)
			dirty(t, k.disks)
			p := open(t, k.config, host.NewRunner())
			t.Cleanup(func() { empty(t, p) })
			before := status(t, p)
			largest, err := p.Create(t.Context(), spec("largest", before.LargestBytes))
			if err != nil || largest.Size != before.LargestBytes {
				t.Fatalf("Create answered %+v, %v; want %d bytes", largest, err, before.LargestBytes)
			}
			if _, err := p.Create(t.Context(), spec("a", before.LeastBytes)); !volume.Is(err, volume.Full) {
				t.Errorf("Create beside the largest volume: %v", err)
			}
			if err := p.Delete(t.Context(), id("largest")); err != nil {
				t.Fatal(err)
			}
			growsInZeros(t, p)
			if err := p.Delete(t.Context(), id("a")); err != nil {
				t.Fatal(err)
			}
			if after := status(t, p); after != before {
				t.Errorf("Status was %+v and is %+v", before, after)
			}
		})
	}
}

func growsInZeros(t *testing.T, p pool.Pool) {
	t.Helper()
	const size = 12 * volume.MiB // a multiple of the unit of all types
	if _, err := p.Create(t.Context(), spec("a", size)); err != nil {
		t.Fatal(err)
	}
	for i, attached := range []bool{true, false, true} {
		if _, err := p.Attach(t.Context(), id("a"), false); err != nil {
			t.Fatal(err)
		}
		if !attached {
			if err := p.Detach(t.Context(), id("a")); err != nil {
				t.Fatal(err)
			}
		}
		want := volume.Size(i+2) * size
		if v, err := p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: want}); err != nil || v.Size != want || v.Attached() != attached {
			t.Fatalf("Expand answered %+v, %v", v, err)
		}
		device, err := p.Attach(t.Context(), id("a"), false)
		if err != nil {
			t.Fatal(err)
		}
		// Its first 4 bytes are what the round before wrote.
		if got := run(t, "sh", "-c", "cat "+device+" | wc -c; tail -c +5 "+device+" | tr -d '\\0' | wc -c; head -c 4 "+device+" | tr '\\0' '-'"); got != fmt.Sprintf("%d\n0\n%s", want, []string{"----", "kept", "kept"}[i]) {
			t.Errorf("round %d: all bytes, those behind the first 4 that are not zero, and those 4: %q; want %d", i, got, want)
		}
		run(t, "sh", "-c", "printf kept | dd of="+device+" conv=notrunc,fsync 2>/dev/null")
	}
	if err := p.Detach(t.Context(), id("a")); err != nil {
		t.Fatal(err)
	}
}

// dirty writes what is not zero to all disks of the group.
func dirty(t *testing.T, disks int) {
	t.Helper()
	for _, d := range testDisks(t, disks)[:disks] {
		runLVM(t, "lvcreate", "--yes", "--zero", "n", "--wipesignatures", "n", "--extents", "100%PVS", "--name", "dirt", vg, d)
		run(t, "sh", "-c", "yes secret | dd of=/dev/"+vg+"/dirt bs=1M count=96 iflag=fullblock oflag=direct 2>/dev/null")
		runLVM(t, "lvremove", "--force", vg+"/dirt")
	}
}
