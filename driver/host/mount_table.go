package host

import (
	"bytes"
	"os"
	"slices"

	"github.com/moby/sys/mountinfo"

	"github.com/loam-storage/loam/driver/volume"
)

// superOptionsBytes is how much is read of the options of a file system, the last field of a line of the mount table. Whether
// it is read-only stands first in it.
const superOptionsBytes = 1024

// mountTable reads the mount table of this process (proc_pid_mountinfo(5)). The kind of its error is Internal.
func mountTable() ([]*mountinfo.Info, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err == nil {
		var all []*mountinfo.Info
		if all, err = mountinfo.GetMountsFromReader(bytes.NewReader(shortLines(text)), nil); err == nil {
			return all, nil
		}
	}
	return nil, volume.Errorf(volume.Internal, "read the mount table: %w", err)
}

// mountOn returns what a line of the table says.
func mountOn(m *mountinfo.Info) Mount {
	return Mount{
		Target: m.Mountpoint, Device: DeviceNumber{Major: uint32(m.Major), Minor: uint32(m.Minor)}, Root: m.Root,
		FSType: m.FSType, Source: m.Source, ReadOnly: hasOption(m.Options, "ro") || hasOption(m.VFSOptions, "ro"),
		Stopped: stoppedOn(m),
	}
}

// stoppedOn returns what a line of the table says of a file system that has stopped itself. Since Linux 6.15 an ext4 has words of its own for
// that, and stays writable otherwise. Before, and a btrfs also now, it turns read-only, and its mounts do not.
func stoppedOn(m *mountinfo.Info) string {
	switch own := volume.FSType(m.FSType); {
	case !slices.Contains(volume.FSTypes(), own):
		return ""
	case hasOption(m.VFSOptions, "shutdown"):
		return "shut down"
	case hasOption(m.VFSOptions, "emergency_ro"):
		return "read-only after an error"
	case hasOption(m.VFSOptions, "ro") && !hasOption(m.Options, "ro"):
		return "read-only, though it was mounted for writing"
	}
	return ""
}

// shortLines cuts the last field of each line. The parser gives up at a line of 64 KiB, and that of an overlay
// with some hundred layers, which any container runtime may mount, is longer.
func shortLines(table []byte) []byte {
	short := make([]byte, 0, len(table))
	for line := range bytes.Lines(table) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		options := bytes.LastIndexByte(line, ' ') + 1
		short = append(short, line[:min(len(line), options+superOptionsBytes)]...)
		short = append(short, '\n')
	}
	return short
}
