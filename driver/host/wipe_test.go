package host_test

import (
	"bytes"
	"context"
	"os"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

func TestWipeMakesZerosOfThatAndNoMore(t *testing.T) {
	const size = 8 * volume.MiB
	path := device(t, size)
	for name, way := range map[string]host.Wiping{"cheapest": host.WipeCheapest, "discard": host.WipeDiscard, "zero": host.WipeZero} {
		full := bytes.Repeat([]byte("loam"), int(size)/4)
		if err := os.WriteFile(path, full, 0); err != nil {
			t.Fatal(err)
		}
		if err := host.Wipe(t.Context(), path, volume.MiB, 3*volume.MiB, way); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Clone(full)
		clear(want[volume.MiB : 3*volume.MiB])
		if !bytes.Equal(got, want) {
			t.Errorf("%s: the device does not hold zeros from 1 MiB to 3 MiB and the rest as it was", name)
		}
	}
	if err := host.Wipe(t.Context(), path+"-not", 0, 1, host.WipeZero); !volume.Is(err, volume.NotFound) {
		t.Errorf("no such device: %v", err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := host.Wipe(ended, path, 0, size, host.WipeZero); !volume.Is(err, volume.Unavailable) {
		t.Errorf("when nobody waits any more: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("it was wiped when nobody waited any more: %v", err)
	}
	if err := host.FlushDevice(path); err != nil {
		t.Error(err)
	}
	h := host.New(host.NewRunner())
	if err := h.NotHeld(path, ""); err != nil {
		t.Error(err)
	}
	release, err := h.Claim(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.NotHeld(path, ""); !volume.Is(err, volume.InUse) {
		t.Errorf("a device that is claimed: %v", err)
	}
	release()
}
