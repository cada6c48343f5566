package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the launcher, so that its exit codes are real ones.
func TestMain(m *testing.M) {
	if os.Getenv("LOAM_VM_LAUNCHER") != "" {
		main()
	}
	os.Exit(m.Run())
}

// launcher is a command that is the launcher.
func launcher(t *testing.T, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	if os.Getenv("LOAM_TEST_VM") == "" {
		t.Skip("boots VMs: make test-lvm runs it")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("no qemu-system-x86_64 here: apt-get install qemu-system-x86, or sanity/install-tools.sh test-lvm")
	}
	if _, err := findTools(); err != nil {
		t.Skipf("tools of the VM are %v, or sanity/install-tools.sh test-lvm", err)
	}
	cmd = exec.Command(os.Args[0], append([]string{"-timeout", "4m"}, args...)...)
	cmd.Env = append(os.Environ(), "LOAM_VM_LAUNCHER=1")
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// runLauncher runs it, wants an exit code of it, and that QEMU has gone with it.
func runLauncher(t *testing.T, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	cmd, out, complaint := launcher(t, args...)
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("exit code %d, want %d; stdout:\n%s\nstderr:\n%s", got, code, out, complaint)
	}
	if alive(t, cmd) {
		t.Error("QEMU is still there")
	}
	return out.String(), complaint.String()
}

// alive tells whether the QEMU of a launcher is there.
func alive(t *testing.T, launcher *exec.Cmd) bool {
	t.Helper()
	name := fmt.Appendf(nil, "\x00loam-vm-%d\x00", launcher.Process.Pid)
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		line, _ := os.ReadFile(file) // of one that has ended since there is none
		if bytes.HasPrefix(line, []byte("qemu-system")) && bytes.Contains(line, name) {
			return true
		}
	}
	return false
}

func TestCommandHasAMachineOfItsOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	given := filepath.Join(dir, "given")
	if err := os.WriteFile(given, []byte("from the host\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "script")
	err := os.WriteFile(script, []byte(`#!/bin/bash
		set -e
		[ "$(id -u)" = 0 ] && [ "$WORDS" = "it's \"two\" words" ] && [ "$1" = 'a  b' ] && [ "$#" = 2 ] && [ -z "$2" ]
		grep -qw device-mapper /proc/misc
		[ "$LOAM_TEST_DISKS" = "/dev/vda /dev/vdb" ] && [ "$(blockdev --getsize64 /dev/vda /dev/vdb)" = $'67108864\n134217728' ]
		grep -q " $TMPDIR ext4 " /proc/mounts
		mkdir -p /results/below
		cp `+given+` /results/below/one
		dd if=/dev/urandom of=/results/two bs=1M count=3 status=none
		sha256sum /results/two | cut -c1-64
		lvcreate --version >&2
		exit 7
	`), 0o700)
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr := runLauncher(t, 7, "-disk", "64M", "-disk", "128M", "-env", `WORDS=it's "two" words`,
		"-file", given, "-get", "/results:"+filepath.Join(dir, "back"), "--", script, "a  b", "")
	if !strings.Contains(stderr, "LVM version") {
		t.Errorf("stderr: %s", stderr)
	}
	one, err := os.ReadFile(filepath.Join(dir, "back/below/one"))
	if err != nil || string(one) != "from the host\n" {
		t.Errorf("one came back as %q, %v", one, err)
	}
	sum, err := exec.Command("sha256sum", filepath.Join(dir, "back/two")).Output()
	if err != nil || len(stdout) != 65 || !strings.HasPrefix(string(sum), strings.TrimSpace(stdout)) {
		t.Errorf("two came back with sum %q, %v, and has %q in the guest", sum, err, stdout)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		code int
		args []string
		says string
	}{
		{"panic", exitFailed, []string{"--", "sh", "-c", "echo c >/proc/sysrq-trigger"}, "Kernel panic"},
		{"timeout", exitTimeout, []string{"-timeout", "8s", "--", "sleep", "1000"}, "ended after 8s"},
		{"file that is not there", exitFailed, []string{"-get", "/none", "--", "true"}, "not in the guest: /none"},
		{"command that is not there", 127, []string{"--", "/no/such"}, "/no/such"},
		{"file that is not here", exitFailed, []string{"-file", "/no/such", "--", "true"}, "/no/such"},
		{"no command", exitUsage, []string{"--"}, "no command"},
		{"no size", exitFailed, []string{"-disk", "much", "--", "true"}, "-disk much"},
		{"QEMU that refuses", exitFailed, []string{"-cpus", "9999", "--", "true"}, "qemu-system-x86_64"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, stderr := runLauncher(t, test.code, test.args...); !strings.Contains(stderr, test.says) {
				t.Errorf("stderr without %q:\n%s", test.says, stderr)
			}
		})
	}
}

func TestCutLosesMemoryAndKeepsDisks(t *testing.T) {
	t.Parallel()
	disks := []string{"-disk", "8M", "-keep-disks", t.TempDir()}
	runLauncher(t, 0, append(disks, "--", "sh", "-c", "echo kept | dd of=/dev/vda conv=fsync")...)
	stdout, _ := runLauncher(t, 0, append(disks, "-cut", "200ms", "--", "sh", "-c", `
		cd /root
		if [ $LOAM_TEST_BOOT = 1 ]; then touch memory; sleep 1000; fi
		[ ! -e memory ] && echo $LOAM_TEST_BOOT && head -n 1 /dev/vda`)...)
	if stdout != "2\nkept\n" {
		t.Errorf("stdout: %q", stdout)
	}
}

func TestCutWaitsForALine(t *testing.T) {
	t.Parallel()
	stdout, _ := runLauncher(t, 0, "-disk", "8M", "-cut", "1ms", "-cut-from", "may go", "--", "sh", "-c", `
		if [ $LOAM_TEST_BOOT = 1 ]; then
			sleep 1
			echo written | dd of=/dev/vda conv=fsync
			echo it may go now
			sleep 1000
		fi
		[ $LOAM_TEST_BOOT-$LOAM_TEST_CUTS = 2-1 ] && head -n 1 /dev/vda`)
	if stdout != "it may go now\nwritten\n" {
		t.Errorf("stdout: %q", stdout)
	}
}

func TestEndedFromOutside(t *testing.T) {
	t.Parallel()
	for signal, code := range map[os.Signal]int{os.Interrupt: exitInterrupted, os.Kill: -1} {
		t.Run(signal.String(), func(t *testing.T) {
			cmd, _, stderr := launcher(t, "--", "sh", "-c", "echo ready; sleep 1000")
			cmd.Stdout = nil
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 1)); err != nil { // what it prints is seen at once
				t.Errorf("%v: %s", err, stderr)
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != code {
				t.Errorf("exit code %d, want %d: %s", got, code, stderr)
			}
			for deadline := time.Now().Add(10 * time.Second); alive(t, cmd); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("QEMU is still there")
				}
			}
		})
	}
}
