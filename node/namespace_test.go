package node_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/volume"
)

// elsewhere is a process in a mount namespace of its own, as that of a debugger, which writes a line after the other.
type elsewhere struct {
	m       *real
	process *exec.Cmd
	lines   *bufio.Reader
	stop    string
	wrote   int // lines
}

func (m *real) startWriter(directory string) *elsewhere {
	m.Helper()
	w := &elsewhere{m: m, stop: m.path("stop")}
	// It begins with a copy of each mount of the machine, and gives up at once what is none of this test.
	script := `cut -d" " -f5 /proc/self/mountinfo | grep loam | grep -vF "$3" | while read -r at; do umount --lazy "$at"; done
		cd "$1" && n=0; until [ -e "$2" ]; do n=$((n+1)); echo $n >> lines || exit 1; sync lines || exit 1; echo $n; done`
	w.process = exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "writer", directory, w.stop, m.dir)
	out, err := w.process.StdoutPipe()
	m.ok("pipe", err)
	w.lines = bufio.NewReader(out)
	m.ok("start", w.process.Start())
	m.Cleanup(func() { _ = w.process.Process.Kill(); _ = w.process.Wait() })
	w.writes()
	return w
}

// writes waits until it has written further.
func (w *elsewhere) writes() {
	w.m.Helper()
	for range 3 {
		w.m.ok("the writer", w.line())
	}
}

// line reads which line was written.
func (w *elsewhere) line() error {
	line, err := w.lines.ReadString('\n')
	if err == nil {
		w.wrote, err = strconv.Atoi(strings.TrimSpace(line))
	}
	return err
}

// end ends it, and returns how many lines it has written.
func (w *elsewhere) end() (lines int) {
	w.m.Helper()
	w.m.ok("stop", os.WriteFile(w.stop, nil, 0o600))
	for w.line() == nil {
	}
	w.m.ok("the writer", w.process.Wait())
	w.m.ok("remove", os.Remove(w.stop))
	return w.wrote
}

// wrote fails the test unless the file has each line that was said to be written.
func (m *real) wrote(path string, lines int) {
	m.Helper()
	text, err := os.ReadFile(path)
	m.ok("read", err)
	var want strings.Builder
	for n := 1; n <= lines; n++ {
		fmt.Fprintln(&want, n)
	}
	if string(text) != want.String() {
		m.Errorf("%s has %d bytes, want the %d of %d lines", path, len(text), want.Len(), lines)
	}
}

// waitUntilDetached waits for the kernel.
func (m *real) waitUntilDetached(name string) {
	m.Helper()
	for until := time.Now().Add(time.Minute); m.device(name) != ""; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			m.Fatalf("%s still has %s", name, m.device(name))
		}
	}
}

// A process in a mount namespace of its own keeps what it has, and is in nobody's way.
func TestAMountInAnotherNamespace(t *testing.T) {
	for _, fsType := range volume.FSTypes() {
		t.Run(string(fsType), func(t *testing.T) {
			m := newReal(t)
			m.use("v", fsType)
			w := m.startWriter(m.target("v"))
			m.ok("unpublish", m.unpublish("v", m.target("v")))
			for range 2 {
				m.ok("unstage", m.unstage("v"))
			}
			w.writes()
			m.is("Delete", m.pool.Delete(t.Context(), m.id("v")), volume.InUse, fmt.Sprintf("process %d (sh)", w.process.Process.Pid))
			m.is("stage as a block device", m.stage("v", block()), volume.InUse, "process")

			m.ran.taken()
			m.ok("stage", m.stage("v", mount(string(fsType))))
			if names := m.ran.taken(); slices.ContainsFunc(names, func(name string) bool { return name != "blkid" }) {
				t.Errorf("staging it ran %q", names)
			}
			m.ok("publish", m.publish("v", m.target("v"), mount(string(fsType))))
			m.write(m.target("v")+"/new", "of the new pod")
			w.writes()
			device := m.device("v")
			lines := w.end()
			m.wrote(m.target("v")+"/lines", lines)
			m.holds(m.target("v")+"/new", "of the new pod")
			m.holds(m.target("v")+"/file", "v")
			if now := m.device("v"); now != device || now == "" {
				t.Errorf("it had %s, and has %q since the other ended", device, now)
			}
			m.ok("unpublish", m.unpublish("v", m.target("v")))

			// The other way round: the last one is the process.
			w = m.startWriter(m.path("staging-v"))
			m.ok("unstage", m.unstage("v"))
			w.end()
			m.waitUntilDetached("v")
			m.ok("stage", m.stage("v", mount(string(fsType))))
			m.holds(m.path("staging-v", "new"), "of the new pod")
			m.ok("unstage", m.unstage("v"))
			if device := m.device("v"); device != "" {
				t.Errorf("%s is still there", device)
			}
			m.ok("Delete", m.pool.Delete(t.Context(), m.id("v")))
		})
	}
}

// A mkfs or fsck that outlived its loam is no mount, and is waited for.
func TestAProcessThatHasTheDeviceIsWaitedFor(t *testing.T) {
	m := newReal(t)
	m.use("v", volume.Ext4)
	m.ok("unpublish", m.unpublish("v", m.target("v")))
	m.ok("unstage", m.unstage("v"))
	device, err := m.pool.Attach(t.Context(), m.id("v"), false)
	m.ok("Attach", err)
	release, err := m.machine.Claim(device) // as e2fsck does
	m.ok("Claim", err)
	m.is("stage", m.stage("v", mount("ext4")), volume.Busy, device)
	release()
	m.ok("stage", m.stage("v", mount("ext4")))
	m.ok("unstage", m.unstage("v"))
}
