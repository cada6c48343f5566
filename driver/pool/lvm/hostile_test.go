package lvm_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

// hostileConf says everything that changes what commands print or do. FOLDER stands for one that is the test's.
const hostileConf = `
config { checks = 1 profile_dir = "/nowhere" }
log {
	prefix = "xx " silent = 1 command_names = 1 report_command_log = 1 verbose = 2 indent = 1 activation = 1
	syslog = 1 file = "FOLDER/log" level = 4
}
report {
	list_item_separator = ";" prefixes = 1 quoted = 0 headings = 0 columns_as_rows = 1 separator = "|" aligned = 0 buffered = 0
	output_format = "json" compact_output = 1 compact_output_cols = "lv_name" binary_values_as_numeric = 1 mark_hidden_devices = 0 two_word_unknown_device = 1
	time_format = "%s" lvs_sort = "nonsense" pvs_sort = "nonsense" vgs_sort_full = "nonsense" pvs_sort_full = "nonsense" lvs_sort_full = "-lv_name"
	segs_sort_full = "nonsense" pvsegs_sort_full = "nonsense"
}
global {
	units = "h" suffix = 1 si_unit_consistency = 0 wait_for_locks = 0 test = 1 activation = 0 metadata_read_only = 1 proc = "/nowhere" etc = "/nowhere"
	use_lvmlockd = 1 use_lvmpolld = 1 locking_dir = "FOLDER/locks" umask = 0777
	thin_disabled_features = [ "discards", "external_origin", "block_size", "discards_non_power_2", "metadata_resize", "external_origin_extend", "error_if_no_space" ]
}
activation {
	volume_list = [ "nothing" ] read_only_volume_list = [ "@*", "` + vg + `" ] auto_activation_volume_list = [] activation_mode = "partial"
	udev_sync = 1 udev_rules = 1 verify_udev_operations = 1 monitoring = 1 retry_deactivation = 0 use_linear_target = 0 auto_set_activation_skip = 0
	thin_pool_autoextend_threshold = 50 snapshot_autoextend_threshold = 50 raid_fault_policy = "allocate" checks = 1 error_when_full = 1
}
metadata { record_lvs_history = 1 pvmetadatacopies = 0 vgmetadatacopies = 1 pvmetadataignore = 1 check_pv_device_sizes = 0 }
allocation { zero_metadata = 0 cling_tag_list = [ "@nothing" ] maximise_cling = 0 raid_stripe_all_devices = 1 wipe_signatures_when_zeroing_new_lvs = 0 }
devices {
	dir = "/nowhere" scan = [ "/nowhere" ] filter = [ "r|.*|" ] global_filter = [ "r|.*|" ] use_devicesfile = 1 devicesfile = "nonsense" hints = "all"
	preferred_names = [ "^/nowhere" ] pv_min_size = 100000000 ignore_suspended_devices = 1 issue_discards = 1 scan_lvs = 1
	obtain_device_list_from_udev = 1 external_device_info_source = "udev"
}
backup { backup = 1 archive = 1 backup_dir = "/proc/nowhere" archive_dir = "/proc/nowhere" }
dmeventd { executable = "/nowhere" }
tags { hosttags = 1 }
`

// hostileMachine has commands meet that configuration, and an environment of the kind, until the test ends.
func hostileMachine(t *testing.T) {
	t.Helper()
	folder := t.TempDir()
	must(t, os.Mkdir(filepath.Join(folder, "locks"), 0o700))
	for name, text := range map[string]string{
		"lvm.conf":      strings.ReplaceAll(hostileConf, "FOLDER", folder),
		"lvmlocal.conf": `local { system_id = "nobody" host_id = 7 }`,
	} {
		must(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	for name, value := range map[string]string{
		"LVM_SYSTEM_DIR": folder, "LVM_COMMAND_PROFILE": "nonsense", "LVM_VG_NAME": "nonsense", "LVM_REPORT_FD": "2", "LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8",
		"DM_DEFAULT_NAME_MANGLING_MODE": "hex",
	} {
		t.Setenv(name, value)
	}
}

// The machine's lvm.conf does not matter for a thin pool; TestPool shows it for linear volumes with the whole contract.
func TestAHostileConfiguration(t *testing.T) {
	k := kinds()[1]
	k.prepare(t)
	hostileMachine(t)
	p := open(t, k.config, host.NewRunner()).(pool.Snapshotter)
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
	// Above the threshold of the machine, which LVM would make nothing more at.
	must(t, second(p.Create(t.Context(), spec("full", 160*volume.MiB))))
	run(t, "dd", "if=/dev/zero", "of="+attach(t, p, "full"), "bs=1M", "count=160", "conv=fsync,notrunc")
	must(t, p.Detach(t.Context(), id("full")))
	must(t, second(p.Create(t.Context(), spec("b", 8*volume.MiB))))
	if s := status(t, p); !s.Healthy || s.FreeBytes == 0 {
		t.Errorf("Status answered %+v", s)
	}
	must(t, p.Close())
	p = open(t, k.config, host.NewRunner()).(pool.Snapshotter)
	volumes, err := p.List(t.Context(), "", 0)
	if err != nil || len(volumes) != 4 {
		t.Errorf("List answered %+v, %v", volumes, err)
	}
	must(t, p.DeleteGroup(t.Context(), id("g")))
	must(t, p.DeleteSnapshot(t.Context(), id("s")))
	for _, name := range []string{"a", "b", "r", "full"} {
		must(t, p.Delete(t.Context(), id(name)))
	}
	if left := names(t); strings.Contains(left, "loam.") {
		t.Errorf("everything was deleted, and there are %s", left)
	}
}

// A group and thin pool that loam makes of blank disks are as they have to be, whatever lvm.conf says.
func TestAGroupThatIsMadeUnderAHostileConfiguration(t *testing.T) {
	disks := testDisks(t, 2)[:2]
	for _, d := range disks {
		run(t, "blkdiscard", "--zeroout", d)
	}
	wipedAfter(t, disks...)
	hostileMachine(t)
	p := open(t, lvm.Config{VolumeGroup: vg, ThinPool: "tp", Create: true, Devices: disks}, host.NewRunner())
	t.Cleanup(func() { _ = p.Close() })
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	if _, reported, err := lvm.StoredAndReported(t.Context(), p); err != nil || !strings.Contains(reported, "zeroing z") {
		t.Errorf("%v, %s", err, reported)
	}
	must(t, p.Delete(t.Context(), id("a")))
}
