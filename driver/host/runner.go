package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// Runner runs the commands of the machine. There is one in a process; tests put their own around it
// to make a command lie or fail.
type Runner interface {
	// Run runs the command and returns what it wrote to its standard output. A command that ends
	// with another code than 0 is an *ExitError.
	Run(ctx context.Context, c Command) (stdout []byte, err error)
}

// Command is one command to run. Nothing in it is read by a shell.
type Command struct {
	Name    string
	Args    []string
	Stdin   []byte        // secrets go here, never into Args
	Timeout time.Duration // it gets SIGKILL after that; DefaultTimeout where zero
	Inherit []*os.File    // stay open in it, also when this process has ended
}

// DefaultTimeout is how long a command may take. It is long, since killing a mkfs half way helps
// nobody; it is there so that a hung one does not hold its volume's name for ever.
const DefaultTimeout = 15 * time.Minute

// ExitError is a command that ran and failed. Its text has what the command said, and not its
// standard input.
type ExitError struct {
	Command string         // name of the command
	Code    int            // exit code, -1 if a signal ended it
	Signal  syscall.Signal // that ended it, 0 if none did
	Stderr  string         // what it wrote to its standard error, shortened
}

func (e *ExitError) Error() string {
	ended := fmt.Sprintf("ended with code %d", e.Code)
	switch {
	case e.Signal == syscall.SIGKILL: // of its own, the runner says something else
		ended = "was killed by signal SIGKILL, which the kernel sends where memory is short"
	case e.Signal != 0:
		ended = fmt.Sprintf("crashed or was ended by signal %s (%s)", unix.SignalName(e.Signal), e.Signal)
	}
	if e.Stderr == "" {
		return fmt.Sprintf("%s %s and said nothing", e.Command, ended)
	}
	return fmt.Sprintf("%s %s: %s", e.Command, ended, e.Stderr)
}

// maxStderrBytes bounds what of a command's complaint goes into an error message.
const maxStderrBytes = 1024

type runner struct{}

// NewRunner returns the Runner that starts real processes.
func NewRunner() Runner { return runner{} }

// Run starts c in a C locale. It waits for the command's own timeout and not for ctx: who asked may
// stop waiting, but a command that changes a disk is not cut off for that.
func (runner) Run(ctx context.Context, c Command) ([]byte, error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	said, err := newOutput()
	if err != nil {
		return nil, volume.Errorf(volume.Internal, "run %s: %w", c.Name, err)
	}
	defer said.close()
	cmd := exec.CommandContext(ctx, lookPath(c.Name), c.Args...)
	cmd.Env = environment(os.Environ())
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = said.stdout, said.stderr, c.Inherit
	if len(c.Stdin) > 0 {
		cmd.Stdin = bytes.NewReader(c.Stdin)
	}
	err = cmd.Run()
	stdout, stderr, readErr := said.read()
	var exit *exec.ExitError
	switch {
	case readErr != nil:
		return nil, volume.Errorf(volume.Internal, "run %s: %w", c.Name, errors.Join(err, readErr))
	case err == nil:
		return stdout, nil
	case ctx.Err() != nil:
		return nil, volume.Errorf(volume.Internal, "%s did not end within %s and was killed", c.Name, timeout)
	case errors.As(err, &exit):
		return stdout, &ExitError{Command: c.Name, Code: exit.ExitCode(), Signal: signalOf(exit), Stderr: shorten(string(stderr))}
	case errors.Is(err, exec.ErrNotFound):
		return nil, notInstalled(c.Name)
	default:
		return nil, volume.Errorf(volume.Internal, "run %s: %w", c.Name, err)
	}
}

// environment returns the variables that commands get: those of this process, but a C locale, and of LVM's own (lvm(8)) only the one that
// says where lvm.conf is. The others choose a profile, or have a report go elsewhere than to the standard output.
func environment(own []string) []string {
	kept := slices.DeleteFunc(slices.Clone(own), func(variable string) bool {
		return (strings.HasPrefix(variable, "LVM_") || strings.HasPrefix(variable, "DM_")) && !strings.HasPrefix(variable, "LVM_SYSTEM_DIR=")
	})
	return append(kept, "LC_ALL=C", "DM_DISABLE_UDEV=1", "LVM_SUPPRESS_FD_WARNINGS=1")
}

// signalOf returns the signal that ended a command, 0 if none did.
func signalOf(exit *exec.ExitError) syscall.Signal {
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return status.Signal()
	}
	return 0
}

func notInstalled(name string) error {
	return volume.Errorf(volume.Internal, "%s is not installed on this machine: install the package it comes with", name)
}

// lookPath finds a command where administrators' tools are, too: on Debian that is not in the search
// path of others, who may well look at a file of their own with blkid.
func lookPath(name string) string {
	if _, err := exec.LookPath(name); err == nil {
		return name
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path
		}
	}
	return name
}

// shorten makes one line of what a command wrote.
func shorten(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxStderrBytes {
		return text[:maxStderrBytes] + "..."
	}
	return text
}
