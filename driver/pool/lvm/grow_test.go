package lvm_test

import (
	"strings"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

// A thin pool grows while somebody writes, without a call and without a process before it is due. When the
// group has nothing left, Status says so, and new volumes are refused.
func TestAThinPoolGrowsByItself(t *testing.T) {
	smallGroup(t, 2, "400m")
	runLVM(t, "lvcreate", "--yes", "--type", "thin-pool", "--size", "64m", "--chunksize", "64k", "--poolmetadatasize", "4m", "--name", "tp", vg)
	r := &counting{Runner: host.NewRunner()}
	p := open(t, lvm.Config{VolumeGroup: vg, ThinPool: "tp", ExtendAt: 70, ExtendBy: 50, Space: config.Space{Overprovision: 4}}, r)
	t.Cleanup(func() { empty(t, p) })
	must(t, second(p.Create(t.Context(), spec("a", 192*volume.MiB))))
	device := attach(t, p, "a")
	size := func() string {
		return strings.TrimSpace(runLVM(t, "lvs", "--noheadings", "--nosuffix", "--units", "m", "-o", "lv_size", vg+"/tp"))
	}
	write := func(from, count string) {
		t.Helper()
		run(t, "sh", "-c", "yes loam | dd of="+device+" bs=1M iflag=fullblock oflag=direct conv=notrunc seek="+from+" count="+count+" 2>/dev/null")
	}
	grows := func(to string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); size() != to; time.Sleep(time.Second) {
			if time.Now().After(deadline) {
				t.Fatalf("the thin pool has %s MiB, want %s", size(), to)
			}
		}
	}
	r.taken()
	write("0", "40")
	time.Sleep(6 * time.Second) // one look of the watch, which is not to start anything
	if got := r.taken(); len(got) != 0 || size() != "64.00" {
		t.Errorf("at 40 of 64 MiB: %v, and it has %s", got, size())
	}
	write("40", "10")
	grows("96.00")
	runLVM(t, "lvcreate", "--yes", "--zero", "n", "--wipesignatures", "n", "--extents", "100%FREE", "--name", "theirs", vg)
	write("50", "40")
	for deadline := time.Now().Add(time.Minute); !strings.Contains(status(t, p).Message, "nothing left"); time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			t.Fatalf("Status answers %+v", status(t, p))
		}
	}
	if err := second(p.Create(t.Context(), spec("b", 8*volume.MiB))); !volume.Is(err, volume.Full) || !strings.Contains(err.Error(), "nothing left") {
		t.Errorf("Create in a full pool: %v", err)
	}
	runLVM(t, "lvremove", "--force", vg+"/theirs")
	for deadline := time.Now().Add(2 * time.Minute); !status(t, p).Healthy; time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			t.Fatalf("Status answers %+v", status(t, p))
		}
	}
	must(t, second(p.Create(t.Context(), spec("b", 8*volume.MiB))))
	must(t, p.Detach(t.Context(), id("a")))
}
