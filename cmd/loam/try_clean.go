package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/loam-storage/loam/driver/volume"
)

// clean removes the directory of a try, but only when the machine carries nothing else of it: what is
// still mounted would be removed with it.
func clean(dir string) error {
	left, err := traces(filepath.Base(dir))
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return volume.Errorf(volume.Internal, "%q is left as it is, since the machine still has\n  %s", dir, strings.Join(left, "\n  "))
	}
	return os.RemoveAll(dir)
}

// traces returns the mounts, loop devices and logical volumes of this machine that carry the name, and
// the processes that this one has started. It asks the kernel, not the driver.
func traces(name string) (left []string, err error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, name) {
			left = append(left, "a mount: "+strings.TrimSpace(line))
		}
	}
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		backing, err := os.ReadFile(file)
		if err == nil && bytes.Contains(backing, []byte(name)) { // an error: the device went meanwhile
			left = append(left, fmt.Sprintf("a loop device: %s of %s", strings.Split(file, "/")[3], bytes.TrimSpace(backing)))
		}
	}
	mapped, err := filepath.Glob("/sys/block/dm-*/dm/name")
	if err != nil {
		return nil, err
	}
	for _, file := range mapped {
		device, err := os.ReadFile(file)
		if err == nil && bytes.Contains(device, []byte(strings.ReplaceAll(name, "-", "--"))) { // LVM doubles hyphens
			left = append(left, fmt.Sprintf("an active logical volume: %s", bytes.TrimSpace(device)))
		}
	}
	children, err := childProcesses()
	return append(left, children...), err
}

func childProcesses() (children []string, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		// pid (name) state ppid ...; the name may have any character (proc_pid_stat(5)).
		before, after, _ := strings.Cut(string(stat), "(")
		name, rest := after[:strings.LastIndex(after, ")")], after[strings.LastIndex(after, ")")+1:]
		if fields := strings.Fields(rest); fields[1] == fmt.Sprint(os.Getpid()) {
			children = append(children, "a process: "+name+" "+strings.TrimSpace(before))
		}
	}
	return children, nil
}
