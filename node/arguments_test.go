package node_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/volume"
)

// The values of mount options are masked in the log, since they may be secret. The argument list of a process is read by each other
// process of the machine, so they are in none: whatever command of this machine is run, it is noted with its arguments.
func TestNoValueOfAMountOptionIsInAnArgumentList(t *testing.T) {
	hosttest.NeedsRoot(t)
	const label = "system_u:object_r:nobody_knows_t:s0:c4711,c4712"
	for fsType, number := range map[volume.FSType]string{volume.Ext4: "max_dir_size_kb=47114711", volume.XFS: "allocsize=4194304", volume.Btrfs: "commit=47114711"} {
		t.Run(string(fsType), func(t *testing.T) {
			m := newReal(t)
			arguments := noteArguments(t)
			_, err := m.pool.Create(t.Context(), volume.Spec{ID: m.id("v"), Size: volume.Range{RequiredBytes: 320 * volume.MiB}, FSType: fsType})
			m.ok("Create", err)
			m.ok("make a directory", os.Mkdir(m.path("staging-v"), 0o750))
			c := mount(string(fsType), "noatime", number, fmt.Sprintf("context=%q", label))
			m.ok("stage", m.stage("v", c))
			table := m.run("cat", "/proc/self/mountinfo")
			if !strings.Contains(table, m.path("staging-v")+" ") {
				t.Fatalf("not mounted: %s", table)
			}
			m.ok("publish", m.publish("v", m.target("v"), c))
			m.ok("unpublish", m.unpublish("v", m.target("v")))
			m.ok("unstage", m.unstage("v"))
			m.ok("stage again", m.stage("v", c))
			m.ok("unstage", m.unstage("v"))
			noted := arguments()
			if !strings.Contains(noted, "mkfs."+string(fsType)) {
				t.Errorf("nothing was noted of mkfs: %s", noted)
			}
			_, value, _ := strings.Cut(number, "=")
			for _, secret := range []string{value, label, "c4711"} {
				if strings.Contains(noted, secret) {
					t.Errorf("%q is in the arguments of a command:\n%s", secret, noted)
				}
			}
		})
	}
}

// noteArguments has each command that is looked for in a search path note its arguments. What it returns reads them.
func noteArguments(t *testing.T) func() string {
	t.Helper()
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "arguments")
	search := os.Getenv("PATH") + ":/usr/sbin:/sbin"
	script := fmt.Sprintf("#!/bin/sh\nprintf '%%s ' \"${0##*/}\" \"$@\" >>%q\necho >>%q\nPATH=%q exec \"${0##*/}\" \"$@\"\n", file, file, search)
	note := filepath.Join(t.TempDir(), "note")
	if err := os.WriteFile(note, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, at := range filepath.SplitList(search) {
		commands, _ := os.ReadDir(at) // not all are there
		for _, command := range commands {
			if err := os.Symlink(note, filepath.Join(dir, command.Name())); err != nil && !os.IsExist(err) {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("PATH", dir)
	return func() string {
		t.Helper()
		noted, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(noted)
	}
}
