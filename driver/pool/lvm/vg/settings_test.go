package vg

import (
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// LVM takes the last of two settings, and says so on its standard error each time.
func TestSettingsAreGivenOnce(t *testing.T) {
	for _, further := range []string{"", discard, `activation/read_only_volume_list=["vg0/a"] ` + discard, checkThin + " " + `activation/read_only_volume_list=["vg0/a"]`} {
		seen := map[string]string{}
		all := " " + settings("vg0", further)
		for _, s := range ownSettings {
			if n := strings.Count(all, " "+s.key+"="); n != 1 {
				t.Errorf("with %q, %s is given %d times", further, s.key, n)
			}
			if _, twice := seen[s.key]; twice {
				t.Errorf("%s is listed twice", s.key)
			}
			seen[s.key] = s.value
		}
		if !strings.HasSuffix(all, further) || !strings.Contains(all, ` activation/volume_list=["vg0"]`) {
			t.Errorf("with %q they are %s", further, all)
		}
	}
}

// notGiven are the settings of lvm.conf(5) that loam leaves to the machine, by the reason why they cannot change what loam
// relies on. A name that ends with a slash or an asterisk stands for all that begin like it.
var notGiven = map[string][]string{
	"every command is given its devices (--devices), and these say where to look without that": {
		"devices/filter", "devices/global_filter", "devices/use_devicesfile", "devices/devicesfile", "devices/search_for_devnames",
		"devices/devicesfile_*", "devices/device_ids_*", "devices/hints", "devices/types", "devices/sysfs_scan",
	},
	"a device may have any of its names: they are compared by their numbers": {"devices/preferred_names"},
	"which groups may lie on what is for the machine to say; loam finds the uppermost of devices with one content, and shows LVM none of its own": {
		"devices/scan_lvs", "devices/multipath_*", "devices/md_component_*", "devices/fw_raid_*", "devices/ignore_lvm_mirrors",
		"devices/allow_changes_with_duplicate_pvs", "devices/allow_mixed_block_sizes",
	},
	"where data begin on a disk that loam makes is for the machine to say": {
		"devices/md_chunk_alignment", "devices/default_data_alignment", "devices/data_alignment*",
	},
	"the command says it itself": {
		"devices/require_restorefile_with_uuid",                                                                // pvcreate --norestorefile
		"allocation/wipe_signatures_when_zeroing_new_lvs",                                                      // lvcreate --wipesignatures n
		"allocation/raid_stripe_all_devices",                                                                   // lvcreate --stripes
		"allocation/thin_pool_zero",                                                                            // lvcreate --zero y
		"metadata/pvmetadatasize",                                                                              // pvcreate --metadatasize
		"global/*_segtype_default",                                                                             // lvcreate --type
		"report/vgs_cols*", "report/pvs_cols*", "report/lvs_cols*", "report/segs_cols*", "report/pvsegs_cols*", // -o
	},
	"what loam makes of blank disks, and the blocks that are free, may lie as the machine wants it": {
		"allocation/cling_tag_list", "allocation/maximise_cling", "allocation/use_blkid_wiping", "allocation/thin_pool_metadata_require_separate_pvs",
		"allocation/thin_pool_crop_metadata", "allocation/thin_pool_discards", "allocation/thin_pool_chunk_size*", "allocation/physical_extent_size",
		"metadata/stripesize", "activation/raid_region_size", "activation/readahead", "activation/error_when_full",
	},
	"loam makes none of that": {
		"allocation/mirror_*", "allocation/cache_*", "allocation/vdo_*", "activation/mirror_region_size", "activation/vdo_*",
		"global/support_mirrored_mirror_log", "global/cache_*", "global/vdo_*", "global/fsadm_executable", "global/lvresize_fs_helper_executable",
	},
	"where a tool is, is for the machine to say": {"global/thin_check_executable", "global/thin_dump_executable", "global/thin_repair_*"},
	"messages go there besides": {
		"log/file", "log/overwrite", "log/level", "log/syslog", "log/journal", "log/debug_*", "global/notify_dbus",
	},
	"it is for a setting that loam gives with another value": {
		"log/command_log_*", "backup/backup_dir", "backup/archive_dir", "backup/retain_*", "metadata/lvs_history_retention_time",
		"global/lvmlockd_lock_retries", "global/sanlock_lv_extend", "global/lvmlockctl_kill_command", "activation/verify_udev_operations",
	},
	"only dmeventd, lvmpolld, automatic activation or the shell of LVM ask for it": {
		"dmeventd/", "shell/", "global/event_activation", "activation/raid_fault_policy", "activation/mirror_*_fault_policy",
		"activation/snapshot_autoextend_*", "activation/thin_pool_autoextend_percent", "activation/polling_interval",
		"activation/auto_activation_volume_list", "activation/auto_lock_start_list", "activation/lock_start_list",
	},
	"no report of loam shows that": {"report/devtypes_*", "report/aligned", "report/vgs_sort", "report/pvsegs_sort", "report/segs_sort", "global/lvdisplay_shows_full_device_path"},
	"it changes what LVM checks or warns of, and nothing that is done": {
		"config/checks", "activation/checks", "metadata/check_pv_device_sizes", "global/abort_on_internal_errors", "global/prioritise_write_locks",
	},
	"memory, speed and rights of the process": {
		"activation/reserved_stack", "activation/reserved_memory", "activation/process_priority", "activation/use_mlockall", "activation/mlock_filter",
		"global/use_aio", "global/io_memory_size", "global/umask", "global/library_dir",
	},
	"LVM fills in stripes that are missing with it, and nothing is activated without them": {"activation/missing_stripe_filler"},
	"it says who the machine is, and a group of another machine is refused by name":        {"global/system_id_*", "local/"},
	"loam asks LVM for it":                                {"global/locking_dir"},
	"what it reads besides counts for less than --config": {"config/profile_dir", "tags/"},
	"LVM 2.03 does not read it any more": {
		"devices/cache", "devices/cache_dir", "devices/cache_file_prefix", "devices/write_cache_state", "devices/disable_after_error_count",
		"global/fallback_to_lvm1", "global/format", "global/locking_type", "global/fallback_to_*_locking", "global/locking_library",
		"global/detect_internal_vg_cache_corruption", "global/use_lvmetad", "global/lvmetad_update_wait_time",
	},
}

// reasonNotToGive returns why a setting cannot matter, empty where nobody has said that.
func reasonNotToGive(key string) string {
	for reason, names := range notGiven {
		for _, name := range names {
			prefix, rest, many := strings.Cut(name, "*")
			if key == name || (strings.HasSuffix(name, "/") && strings.HasPrefix(key, name)) || (many && strings.HasPrefix(key, prefix) && strings.HasSuffix(key, rest)) {
				return reason
			}
		}
	}
	return ""
}

// Each setting that this machine's LVM knows is given, or somebody has said why it cannot matter.
func TestEachSettingOfLVMIsDecided(t *testing.T) {
	out, err := exec.Command("lvm", "lvmconfig", "--typeconfig", "list").Output()
	if err != nil {
		t.Skipf("SKIPPED: there is no lvm here that lists its settings: %v", err)
	}
	given := map[string]bool{"activation/volume_list": true, "global/thin_check_options": true} // settings, checkThin
	for _, s := range ownSettings {
		given[s.key] = true
		if reason := reasonNotToGive(s.key); reason != "" {
			t.Errorf("%s is given, and %q", s.key, reason)
		}
	}
	known := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		key, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if known[key] = true; !given[key] && reasonNotToGive(key) == "" {
			t.Errorf("LVM has a setting %s: give it to each command (settings.go), or say here why it cannot matter", key)
		}
	}
	if len(known) < 200 {
		t.Fatalf("LVM lists %d settings: %q", len(known), out)
	}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if !known[key] {
			t.Errorf("%s is given, and LVM does not know it", key)
		}
	}
}
