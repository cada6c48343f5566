package lvm

import (
	"strconv"
	"strings"
)

// setting is one of lvm.conf(5), given to a command with --config: there it counts for more than the machine's own.
type setting struct{ key, value string }

// ownSettings are what every command gets. The first suit a machine or container without udev and LVM's daemons, and do no
// harm with them; LVM's copies of the metadata in /etc/lvm would be lost with a container, and are a file more with each
// command. The others are all that a machine's lvm.conf could say and that changes what loam relies on: whether a command
// does what it is told, what it prints, and what a selection means. All are known to LVM 2.03.12.
var ownSettings = []setting{
	{"activation/udev_sync", "0"}, {"activation/udev_rules", "0"}, {"activation/monitoring", "0"},
	{"global/use_lvmpolld", "0"}, {"backup/backup", "0"}, {"backup/archive", "0"},

	// A command does what it is told, or fails.
	{"global/test", "0"}, {"global/activation", "1"}, {"global/wait_for_locks", "1"},
	{"activation/read_only_volume_list", "[]"}, {"activation/activation_mode", `"degraded"`},
	{"metadata/record_lvs_history", "0"}, {"config/abort_on_errors", "0"},

	// What it prints is a report, or says that something was done. With report_command_log, LVM 2.03.16 crashes on --select.
	{"log/report_command_log", "0"}, {"log/prefix", `""`}, {"log/command_names", "0"}, {"log/silent", "0"}, {"log/verbose", "0"}, {"log/indent", "0"},
	{"report/output_format", `"basic"`}, {"report/compact_output", "0"}, {"report/compact_output_cols", `""`}, {"report/buffered", "1"},
	{"report/headings", "1"}, {"report/separator", `" "`}, {"report/prefixes", "0"}, {"report/quoted", "1"}, {"report/columns_as_rows", "0"},
	{"report/mark_hidden_devices", "1"}, {"report/two_word_unknown_device", "0"}, {"report/binary_values_as_numeric", "0"},
	{"report/time_format", `"%Y-%m-%d %T %z"`}, {"global/units", `"b"`}, {"global/suffix", "0"}, {"global/si_unit_consistency", "1"},

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
