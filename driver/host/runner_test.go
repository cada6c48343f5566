package host_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/loam-storage/loam/driver/host"
)

// The error of a command that a signal ended says which, as nothing else does.
func TestASignalThatEndsACommandIsNamed(t *testing.T) {
	for signal, says := range map[syscall.Signal]string{syscall.SIGSEGV: "SIGSEGV", syscall.SIGABRT: "SIGABRT", syscall.SIGKILL: "SIGKILL"} {
		_, err := host.NewRunner().Run(t.Context(), host.Command{Name: "sh", Args: []string{"-c", `echo oh >&2; kill -s "$1" $$`, "sh", strings.TrimPrefix(says, "SIG")}})
		var exit *host.ExitError
		if !errors.As(err, &exit) || exit.Signal != signal || exit.Code != -1 || !strings.Contains(err.Error(), says) || !strings.HasSuffix(err.Error(), "oh") {
			t.Errorf("of one that %s ended: %v", says, err)
		}
	}
	_, err := host.NewRunner().Run(t.Context(), host.Command{Name: "sh", Args: []string{"-c", "exit 3"}})
	var exit *host.ExitError
	if !errors.As(err, &exit) || exit.Signal != 0 || exit.Code != 3 || !strings.Contains(err.Error(), "code 3") {
		t.Errorf("of one that ended by itself: %v", err)
	}
}

// What the environment says to LVM and device-mapper does not reach commands, but for where lvm.conf is.
func TestTheEnvironmentOfCommands(t *testing.T) {
	for name, value := range map[string]string{"LVM_SYSTEM_DIR": "/folder", "LVM_COMMAND_PROFILE": "p", "LVM_REPORT_FD": "2", "DM_DEFAULT_NAME_MANGLING_MODE": "hex", "LC_ALL": "de_DE.UTF-8", "OTHER": "kept"} {
		t.Setenv(name, value)
	}
	out, err := host.NewRunner().Run(t.Context(), host.Command{Name: "sh", Args: []string{"-c", `echo "$LVM_SYSTEM_DIR $LVM_COMMAND_PROFILE $LVM_REPORT_FD $DM_DEFAULT_NAME_MANGLING_MODE $DM_DISABLE_UDEV $LC_ALL $OTHER"`}})
	if got := strings.TrimSpace(string(out)); err != nil || got != "/folder    1 C kept" {
		t.Errorf("%q, %v", got, err)
	}
}
