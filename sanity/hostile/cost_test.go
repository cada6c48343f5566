package hostile_test

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cost is what a process has needed so far.
type cost struct {
	resident, most int64 // bytes of memory: now, and at most since measure was last called
	log            int64 // bytes
	work           time.Duration
}

// measure returns what the controller has needed, and has its most counted anew.
func (c *controller) measure(t *testing.T) (now cost) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", c.process.Process.Pid)
	read := func(file string) []byte {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	number := func(text string) int64 {
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for line := range strings.Lines(string(read(proc + "status"))) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "VmHWM":
			now.most = number(strings.TrimSuffix(strings.TrimSpace(value), "kB")) << 10
		case "VmRSS":
			now.resident = number(strings.TrimSuffix(strings.TrimSpace(value), "kB")) << 10
		}
	}
	stat := read(proc + "stat") // behind the name of the program, the 12th and 13th fields are in hundredths of a second (proc_pid_stat(5))
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	now.work = time.Duration(number(fields[11])+number(fields[12])) * 10 * time.Millisecond
	log, err := os.Stat(c.log)
	if err != nil {
		t.Fatal(err)
	}
	now.log = log.Size()
	if err := os.WriteFile(proc+"clear_refs", []byte("5"), 0); err != nil { // proc_pid_clear_refs(5)
		t.Fatal(err)
	}
	return now
}
