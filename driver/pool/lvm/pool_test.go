package lvm_test

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/pooltest"
	"github.com/loam-storage/loam/driver/volume"
)

func TestPool(t *testing.T) {
	some := "linear thin raid1"
	if os.Getenv("FULL") != "" {
		some = "linear thin striped raid1 raid5 raid6 raid10"
	}
	asked := strings.Fields(cmp.Or(os.Getenv(kindsVariable), some))
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			if !slices.Contains(asked, k.name) {
				t.Skipf("SKIPPED: takes minutes more: FULL=yes runs it, or %s=%s", kindsVariable, k.name)
			}
			k.prepare(t)
			if k.name == "linear" { // the sanity tests show it with the configuration of the machine
				hostileMachine(t)
			}
			pooltest.Run(t, pooltest.Options{
				Node: node,
				Slow: true, Damages: damages(), Away: func(t *testing.T) func() {
					runLVM(t, "vgrename", vg, vg+"away")
					return func() { runLVM(t, "vgrename", vg+"away", vg) }
				},
				New: func(t *testing.T) pool.Pool {
					p := open(t, k.config, host.NewRunner())
					t.Cleanup(func() { empty(t, p) })
					return p
				},
				Reopen: func(t *testing.T, p pool.Pool) pool.Pool {
					if err := p.Close(); err != nil {
						t.Fatal(err)
					}
					again := open(t, k.config, host.NewRunner())
					t.Cleanup(func() { _ = again.Close() })
					return again
				},
			})
		})
	}
}

// What one operation costs in lvm processes, when nothing is in its way.
func TestCountOfCommands(t *testing.T) {
	for _, k := range kinds()[:2] {
		t.Run(k.name, func(t *testing.T) {
			k.prepare(t)
			r := &counting{Runner: host.NewRunner()}
			p := open(t, k.config, r)
			t.Cleanup(func() { empty(t, p) })
			ctx := t.Context()
			thin := k.config.ThinPool != ""
			step := func(what string, want int, do func() error) {
				t.Helper()
				r.taken()
				if err := do(); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				got := r.taken()
				fmt.Printf("count: %s %s: %d lvm %v\n", k.name, what, len(got), got)
				if len(got) != want {
					t.Errorf("%s took %d lvm commands, want %d: %v", what, len(got), want, got)
				}
			}
			create := func(name string) func() error {
				return func() error { _, err := p.Create(ctx, spec(name, 8*volume.MiB)); return err }
			}
			attach := func() error { _, err := p.Attach(ctx, id("a"), false); return err }
			expand := func(bytes volume.Size) func() error {
				return func() error { _, err := p.Expand(ctx, id("a"), volume.Range{RequiredBytes: bytes}); return err }
			}
			step("create", 1, create("a"))
			step("mark", 1, func() error { return p.Mark(ctx, id("a"), volume.Formatting) })
			block := func() error { return p.Mark(ctx, id("a"), volume.Block) }
			step("mark as a block device", 1, block)
			step("mark so again", 0, block)
			if !thin {
				step("attach for the first time", 2, attach)
				step("detach", 1, func() error { return p.Detach(ctx, id("a")) })
			}
			step("attach", 1, attach)
			step("attach again", 0, attach)
			step("detach", 1, func() error { return p.Detach(ctx, id("a")) })
			step("detach again", 0, func() error { return p.Detach(ctx, id("a")) })
			if !thin { // what it grows by is wiped first
				step("attach", 1, attach)
				step("expand while attached", 4, expand(12*volume.MiB))
				step("detach", 1, func() error { return p.Detach(ctx, id("a")) })
				step("expand", 2, expand(16*volume.MiB))
			}
			restores := 9
			if thin {
				step("expand", 1, expand(16*volume.MiB))
				restores = 1
			} else { // wiped, for what it grew by
				step("attach after that", 2, attach)
				step("detach", 1, func() error { return p.Detach(ctx, id("a")) })
			}
			s := p.(pool.Snapshotter)
			step("snapshot", 1, func() error {
				_, err := s.CreateSnapshot(ctx, volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}})
				return err
			})
			step("restore", restores, func() error {
				c := spec("r", 0)
				c.Source = &volume.Source{Kind: volume.FromSnapshot, ID: id("s")}
				_, err := p.Create(ctx, c)
				return err
			})
			step("delete of a snapshot", 1, func() error { return s.DeleteSnapshot(ctx, id("s")) })
			if thin {
				readOnly := func() error { _, err := p.Attach(ctx, id("a"), true); return err }
				step("attach read-only", 2, readOnly)
				step("detach", 1, func() error { return p.Detach(ctx, id("a")) })
				step("attach read-only again", 1, readOnly)
				step("detach", 1, func() error { return p.Detach(ctx, id("a")) })
				step("attach for writing after that", 2, attach)
				step("detach", 1, func() error { return p.Detach(ctx, id("a")) })
			}
			step("delete", 1, func() error { return p.Delete(ctx, id("a")) })
			step("get", 0, func() error { _, err := p.Get(ctx, id("r")); return err })
			step("list", 0, func() error { _, err := p.List(ctx, "", 0); return err })
			step("status", 1, func() error { _, err := p.Status(ctx); return err })
		})
	}
}
