package lvm_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

// What is read from the disks may be of another time: a disk that answers with what it had, or somebody who writes there.
// Nothing is wiped, and nothing may be zeroed, where LVM does not see it in the same way.
func TestStaleMetadataWipeNothing(t *testing.T) {
	volumeGroup(t, 1)
	p := open(t, lvm.Config{VolumeGroup: vg}, host.NewRunner())
	t.Cleanup(func() { empty(t, p) })
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	must(t, p.Mark(t.Context(), id("a"), volume.Formatting))
	again, err := lvm.ReadStale(p)
	must(t, err)
	// Meanwhile it is used, by a process that sees what is so.
	runLVM(t, "lvchange", "--deltag", "loam.storage/mark=formatting", "--deltag", "loam.storage/wiped=0", "--addtag", "loam.storage/ready", vg+"/loam.fast.v.a")
	runLVM(t, "lvchange", "--activate", "y", "--ignoreactivationskip", vg+"/loam.fast.v.a")
	device := "/dev/" + vg + "/loam.fast.v.a"
	content := func() string {
		t.Helper()
		return run(t, "sh", "-c", "dd if="+device+" bs=4096 count=1 iflag=direct 2>/dev/null | head -c 3")
	}
	run(t, "sh", "-c", "printf '%-4096s' old | dd of="+device+" bs=4096 oflag=direct conv=notrunc 2>/dev/null")
	check := func(what string) {
		t.Helper()
		for call, err := range map[string]error{
			"Attach": second(p.Attach(t.Context(), id("a"), false)),
			"Mark":   p.Mark(t.Context(), id("a"), volume.Formatting),
		} {
			if !volume.Is(err, volume.Unavailable) {
				t.Errorf("%s: %s answered %v", what, call, err)
			}
		}
	}
	check("active")
	if got := content(); got != "old" {
		t.Fatalf("while it is active it was wiped, and holds %q", got)
	}
	runLVM(t, "lvchange", "--activate", "n", vg+"/loam.fast.v.a")
	check("not active")
	again()
	holds(t, p, "a", "old")
}

// A wipe ends between two steps when nobody waits for it any more, and what it did counts for nothing.
func TestAWipeThatIsCutOff(t *testing.T) {
	volumeGroup(t, 1)
	stop := stopAt("--activate y", `lv_name="loam.fast.v.a"`)
	p := open(t, lvm.Config{VolumeGroup: vg}, stop)
	t.Cleanup(func() { empty(t, p) })
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- second(p.Attach(ctx, id("a"), false)) }()
	<-stop.reached
	cancel()
	stop.goOn <- struct{}{}
	if err := <-result; !volume.Is(err, volume.Unavailable) {
		t.Errorf("Attach answered %v", err)
	}
	if tags := runLVM(t, "lvs", "--noheadings", "-o", "lv_tags", vg+"/loam.fast.v.a"); !strings.Contains(tags, "wiped=0") || strings.Contains(tags, "ready") {
		t.Errorf("the tags are %s", tags)
	}
	go func() { <-stop.reached; stop.goOn <- struct{}{} }()
	attach(t, p, "a")
	must(t, p.Detach(t.Context(), id("a")))
}

// hostile is a runner on a machine whose lvm.conf says everything that changes what commands print or do.
type hostile struct {
	host.Runner
	mu     sync.Mutex
	folder string
}

func (h *hostile) Run(ctx context.Context, c host.Command) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := os.Setenv("LVM_SYSTEM_DIR", h.folder); err != nil {
		return nil, err
	}
	defer os.Unsetenv("LVM_SYSTEM_DIR")
	return h.Runner.Run(ctx, c)
}

const hostileConf = `
config { checks = 1 }
log { prefix = "xx " silent = 1 command_names = 1 report_command_log = 1 verbose = 2 indent = 1 }
report {
	list_item_separator = ";" prefixes = 1 quoted = 0 headings = 0 columns_as_rows = 1 separator = "|" aligned = 0 buffered = 0
	output_format = "json" compact_output = 1 binary_values_as_numeric = 1 mark_hidden_devices = 0 two_word_unknown_device = 1
	time_format = "%s"
}
global { units = "h" suffix = 1 si_unit_consistency = 0 wait_for_locks = 0 test = 1 activation = 0 }
activation {
	volume_list = [ "nothing" ] read_only_volume_list = [ "@*", "` + vg + `" ] auto_activation_volume_list = [] activation_mode = "partial"
	udev_sync = 1 udev_rules = 1 monitoring = 1
}
metadata { record_lvs_history = 1 }
devices { issue_discards = 0 }
`

// The machine's lvm.conf does not matter.
func TestAHostileConfiguration(t *testing.T) {
	for _, k := range kinds()[:2] {
		t.Run(k.name, func(t *testing.T) {
			k.prepare(t)
			h := &hostile{Runner: host.NewRunner(), folder: t.TempDir()}
			must(t, os.WriteFile(filepath.Join(h.folder, "lvm.conf"), []byte(hostileConf), 0o600))
			p := open(t, k.config, h).(pool.Snapshotter)
			t.Cleanup(func() { empty(t, p) })
			must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
			must(t, p.Mark(t.Context(), id("a"), volume.Formatting))
			must(t, p.Mark(t.Context(), id("a"), volume.Formatting))
			must(t, p.Mark(t.Context(), id("a"), volume.Used))
			writeTo(t, p, "a", "old")
			noDevice(t, "loam.fast.v.a")
			attach(t, p, "a")
			must(t, second(p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 16 * volume.MiB})))
			must(t, p.Detach(t.Context(), id("a")))
			noDevice(t, "loam.fast.v.a")
			must(t, second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}})))
			must(t, second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("g"), Group: true, Volumes: []volume.ID{id("a")}})))
			writeTo(t, p, "a", "new")
			must(t, restore(p, "r"))
			holds(t, p, "r", "old")
			device, err := p.Attach(t.Context(), id("r"), true)
			must(t, err)
			if got := run(t, "blockdev", "--getro", device); got != "1" {
				t.Error("a volume that is attached read-only is writable")
			}
			must(t, p.Detach(t.Context(), id("r")))
			if s := status(t, p); !s.Healthy || s.FreeBytes == 0 {
				t.Errorf("Status answered %+v", s)
			}
			must(t, p.Close())
			p = open(t, k.config, h).(pool.Snapshotter)
			volumes, err := p.List(t.Context(), "", 0)
			if err != nil || len(volumes) != 2 {
				t.Errorf("List answered %+v, %v", volumes, err)
			}
			must(t, p.DeleteGroup(t.Context(), id("g")))
			must(t, p.DeleteSnapshot(t.Context(), id("s")))
			must(t, p.Delete(t.Context(), id("a")))
			must(t, p.Delete(t.Context(), id("r")))
			if left := names(t); strings.Contains(left, "loam.") {
				t.Errorf("everything was deleted, and there are %s", left)
			}
		})
	}
}

// noDevice says whether a logical volume has none.
func noDevice(t *testing.T, name string) {
	t.Helper()
	if all := run(t, "dmsetup", "ls"); strings.Contains(all, vg+"-"+name) {
		t.Errorf("%s was detached, and its device is there", name)
	}
}
