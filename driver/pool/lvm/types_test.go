package lvm_test

import (
	"bytes"
	"os"
	"path/filepath"
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
	const size = 8 * volume.MiB // a multiple of the unit of all types
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
		content, err := os.ReadFile(device)
		must(t, err)
		// Its first 4 bytes are what the round before wrote.
		begins := []string{"\x00\x00\x00\x00", "kept", "kept"}[i]
		if volume.Size(len(content)) != want || string(content[:4]) != begins || len(bytes.Trim(content[4:], "\x00")) != 0 {
			t.Errorf("round %d: it has %d bytes, want %d; begins with %q, want %q; behind that only zeros: %t", i, len(content), want, content[:4], begins, len(bytes.Trim(content[4:], "\x00")) == 0)
		}
		run(t, "sh", "-c", "printf kept | dd of="+device+" conv=notrunc,fsync 2>/dev/null")
	}
	if err := p.Detach(t.Context(), id("a")); err != nil {
		t.Fatal(err)
	}
}

// dirty writes what is not zero to all disks of the group, as far as the volumes of a test reach.
func dirty(t *testing.T, disks int) {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, bytes.Repeat([]byte("secret!\n"), 48<<17), 0o600))
	for _, d := range testDisks(t, disks)[:disks] {
		runLVM(t, "lvcreate", "--yes", "--zero", "n", "--wipesignatures", "n", "--extents", "100%PVS", "--name", "dirt", vg, d)
		run(t, "dd", "if="+secret, "of=/dev/"+vg+"/dirt", "bs=4M", "oflag=direct")
		runLVM(t, "lvremove", "--force", vg+"/dirt")
	}
}
