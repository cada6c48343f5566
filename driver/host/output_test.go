package host_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/host"
)

// A command that has ended well has done its work, also when a process that it has left behind still has its output open.
func TestACommandEndsWhenItsOwnProcessDoes(t *testing.T) {
	leave := host.Command{Name: "sh", Args: []string{"-c", "echo done; echo oh >&2; exec 3>&1; sleep 60 & echo $!"}}
	began := time.Now()
	out, err := host.NewRunner().Run(t.Context(), leave)
	said, pid, ok := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil || !ok || said != "done" || time.Since(began) > 30*time.Second {
		t.Fatalf("the command answered %q, %v after %s", out, err, time.Since(began))
	}
	command(t, "kill", pid)
}

func TestLargeOutputIsWhole(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	out, err := host.NewRunner().Run(t.Context(), host.Command{Name: "cat", Stdin: large})
	if err != nil || !bytes.Equal(out, large) {
		t.Errorf("%d bytes came back of %d, %v", len(out), len(large), err)
	}
	out, err = host.NewRunner().Run(t.Context(), host.Command{Name: "cat"})
	if err != nil || len(out) != 0 {
		t.Errorf("without an input: %q, %v", out, err)
	}
	ignored := host.Command{Name: "true", Stdin: large}
	if _, err := host.NewRunner().Run(t.Context(), ignored); err != nil {
		t.Errorf("a command that does not read its input: %v", err)
	}
}
