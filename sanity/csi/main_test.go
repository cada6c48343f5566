// Package csi_test runs csi-sanity, the conformance suite of CSI, against the real driver: over the
// memory pool without root, over loop and LVM pools on the real machine with it, for mounted and
// for block volumes.
package csi_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host/hosttest"
)

// modeVariable names, in the environment of a process of this test, the mode that it runs.
const modeVariable = "LOAM_SANITY_MODE"

func TestMain(m *testing.M) {
	run := m.Run
	if name := os.Getenv(modeVariable); name != "" {
		run = func() int { return runMode(name) }
	}
	os.Exit(hosttest.LeaveNothing(run))
}

// TestSanity runs each mode in a process of its own, since a process can run one suite only. Each
// leaves nothing behind.
func TestSanity(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			if m.onMachine() {
				hosttest.NeedsRoot(t)
			}
			t.Parallel()
			m.inProcess(t)
		})
	}
}

// inProcess runs the mode in a process of its own.
func (m mode) inProcess(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self)
	// The path is where mkfs and blkid are; a user who is not root may not have that.
	c.Env = append(os.Environ(), modeVariable+"="+m.name, "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "count: ") || strings.HasPrefix(line, "not run: ") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if !bytes.Contains(out, []byte("count: ")) {
		t.Errorf("it did not count anything:\n%s", out)
	}
}

// runMode is what such a process does. It returns its exit code.
func runMode(name string) int {
	for _, m := range slices.Concat(modes, lvmModes) {
		if m.name != name {
			continue
		}
		if err := m.run(); err != nil {
			fmt.Println("FAIL:", err)
			return 1
		}
		return 0
	}
	fmt.Printf("FAIL: there is no mode %q\n", name)
	return 1
}
