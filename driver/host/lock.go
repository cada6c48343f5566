package host

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// LockHolder says in words which process has a lock on an open file (flock(2)); empty where the kernel does not say, as of
// a process in another container.
func LockHolder(file *os.File) string {
	var s unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &s); err != nil {
		return ""
	}
	table, err := os.Open("/proc/locks")
	if err != nil {
		return ""
	}
	defer table.Close() //nolint:errcheck // only read
	inode := fmt.Sprintf("%02x:%02x:%d", unix.Major(s.Dev), unix.Minor(s.Dev), s.Ino)
	for lines := bufio.NewScanner(table); lines.Scan(); {
		fields := strings.Fields(lines.Text()) // "1: FLOCK ADVISORY WRITE 708 08:01:6422 0 EOF"
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != inode || fields[4] == "0" || fields[4] == "-1" {
			continue
		}
		name, err := os.ReadFile("/proc/" + fields[4] + "/comm")
		if err != nil {
			return "process " + fields[4]
		}
		return fmt.Sprintf("process %s, %s", fields[4], strings.TrimSpace(string(name)))
	}
	return ""
}
