package vg

import (
	"strconv"
	"strings"
)

// setting is one of lvm.conf(5), given to a command with --config: there it counts for more than the machine's own.
type setting struct{ key, value string }

// ownSettings are what every command gets: all that a machine's lvm.conf could say and that changes what loam relies on. What
// loam does not give is in the test of this file, with the reason why it cannot matter. All are known to LVM 2.03.12.
var ownSettings = []setting{
	// These suit a machine or container without udev and LVM's daemons, and do no harm with them. LVM's copies of the metadata in
	// /etc/lvm would be lost with a container, and are a file more with each command.
	{"activation/udev_sync", "0"}, {"activation/udev_rules", "0"}, {"activation/monitoring", "0"},
	{"global/use_lvmpolld", "0"}, {"global/use_lvmlockd", "0"}, {"backup/backup", "0"}, {"backup/archive", "0"},
	{"devices/obtain_device_list_from_udev", "0"}, {"devices/external_device_info_source", `"none"`},

	// LVM sees the disks that it is given. It would take one that it ignores for one that is missing, and write that down.
	{"devices/dir", `"/dev"`}, {"devices/scan", `["/dev"]`}, {"devices/ignore_suspended_devices", "0"}, {"devices/pv_min_size", "512"},
	{"global/proc", `"/proc"`}, {"global/etc", `"/etc"`},

	// A command does what it is told, or fails. With a threshold below 100, LVM makes no volume in a thin pool above it.
	{"global/test", "0"}, {"global/activation", "1"}, {"global/wait_for_locks", "1"}, {"global/metadata_read_only", "0"},
	{"global/thin_disabled_features", "[]"},
	{"activation/read_only_volume_list", "[]"}, {"activation/activation_mode", `"degraded"`}, {"activation/auto_set_activation_skip", "1"},
	{"activation/retry_deactivation", "1"}, {"activation/use_linear_target", "1"}, {"activation/thin_pool_autoextend_threshold", "100"},
	{"metadata/record_lvs_history", "0"}, {"config/abort_on_errors", "0"}, {"devices/issue_discards", "0"},

	// Disks and thin pools that loam makes have metadata that can be read, and begin empty.
	{"metadata/pvmetadatacopies", "1"}, {"metadata/vgmetadatacopies", "0"}, {"metadata/pvmetadataignore", "0"}, {"allocation/zero_metadata", "1"},

	// What it prints is a report, or says that something was done. With report_command_log, LVM 2.03.16 crashes on --select. Messages
	// in the middle of an activation may be for a log that lies on what is suspended.
	{"log/report_command_log", "0"}, {"log/prefix", `""`}, {"log/command_names", "0"}, {"log/silent", "0"}, {"log/verbose", "0"}, {"log/indent", "0"}, {"log/activation", "0"},
	{"report/output_format", `"basic"`}, {"report/compact_output", "0"}, {"report/compact_output_cols", `""`}, {"report/buffered", "1"},
	{"report/headings", "1"}, {"report/separator", `" "`}, {"report/prefixes", "0"}, {"report/quoted", "1"}, {"report/columns_as_rows", "0"},
	{"report/mark_hidden_devices", "1"}, {"report/two_word_unknown_device", "0"}, {"report/binary_values_as_numeric", "0"},
	{"report/time_format", `"%Y-%m-%d %T %z"`}, {"global/units", `"b"`}, {"global/suffix", "0"}, {"global/si_unit_consistency", "1"},
	{"report/vgs_sort_full", `"vg_name"`}, {"report/pvs_sort_full", `"pv_name"`}, {"report/lvs_sort_full", `"vg_name,lv_name"`},
	{"report/pvsegs_sort_full", `"pv_uuid,pvseg_start"`}, {"report/segs_sort_full", `"lv_uuid,seg_start"`},
	{"report/pvs_sort", `"pv_name"`}, {"report/lvs_sort", `"vg_name,lv_name"`},

	// Tags are told apart by a comma, in a report and in a selection.
	{"report/list_item_separator", `","`},
}

// settings returns the text for --config: ownSettings, those that let the volumes of the group be activated, and further
// ones in their place, which are written in the same way, with blanks between them.
func settings(volumeGroup, further string) string {
	var all []string
	for _, s := range append(ownSettings[:len(ownSettings):len(ownSettings)], setting{"activation/volume_list", "[" + strconv.Quote(volumeGroup) + "]"}) {
		if !strings.Contains(" "+further, " "+s.key+"=") { // of two, LVM would take the second, and say so each time
			all = append(all, s.key+"="+s.value)
		}
	}
	return strings.TrimSpace(strings.Join(all, " ") + " " + further)
}
