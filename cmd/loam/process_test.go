package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// mainVariable in its environment has the binary of these tests be loam.
const mainVariable = "LOAM_TEST_MAIN"

// process is loam as an administrator starts it.
type process struct {
	*testing.T
	command *exec.Cmd
	log     string // file with what it says
	end     func() error
}

// startLoam starts loam with arguments. It is stopped when the test ends, and must then end well.
func startLoam(t *testing.T, args ...string) *process {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), "log-")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p := &process{T: t, command: exec.Command("/proc/self/exe", args...), log: log.Name()}
	// A process with the race detector sleeps for a second before it ends.
	p.command.Env = append(os.Environ(), mainVariable+"=1", "GORACE=atexit_sleep_ms=0")
	p.command.Stdout, p.command.Stderr = log, log
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	p.end = sync.OnceValue(p.command.Wait)
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			text, _ := os.ReadFile(p.log)
			lines := strings.SplitAfter(string(text), "\n")
			t.Logf("loam %v said at last:\n%s", args, strings.Join(lines[max(0, len(lines)-40):], ""))
		}
	})
	return p
}

// says waits for something that it logs, and returns what the group in the pattern matched.
func (p *process) says(pattern string) (group string) {
	p.Helper()
	eventually(p.T, func() error {
		text, err := os.ReadFile(p.log)
		if err != nil {
			return err
		}
		found := regexp.MustCompile(pattern).FindSubmatch(text)
		if found == nil {
			return errors.New("loam has not said " + pattern)
		}
		group = string(found[len(found)-1])
		return nil
	})
	return group
}

// stop ends it as an administrator does.
func (p *process) stop() {
	p.Helper()
	if p.command.ProcessState != nil {
		return
	}
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		p.Error(err)
	}
	late := time.AfterFunc(time.Minute, func() { _ = p.command.Process.Kill() })
	defer late.Stop()
	if err := p.end(); err != nil {
		p.Errorf("loam ended with: %v", err)
	}
}

// kill ends it as the kernel does.
func (p *process) kill() {
	p.Helper()
	if err := p.command.Process.Kill(); err != nil {
		p.Error(err)
	}
	var exit *exec.ExitError
	if err := p.end(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		p.Errorf("loam had ended before it was killed: %v", err)
	}
}

func connect(t *testing.T, socket string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second})) // no long waits between two attempts
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// eventually calls f until it has no error.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	for until := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(until) {
			t.Fatal(err)
		}
	}
}

// shortDir returns a directory with a short path, for that of a socket has at most 107 bytes.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "l")
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
