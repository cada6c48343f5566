package restart_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/loam-storage/loam/sanity/scratch"
)

const (
	nodeName = "n1"
	poolName = "fast"

	patience = 30 * time.Second // for what takes milliseconds
)

// server is `loam serve` in a process of its own, and clients of it.
type server struct {
	*testing.T
	binary, config, socket, log string

	process    *exec.Cmd
	ended      chan error // how the process ended
	connection *grpc.ClientConn
	controller csi.ControllerClient
	node       csi.NodeClient
}

// newServer builds loam and configures it with one loop pool. What a failed test leaves in dir is swept
// away when it ends.
func newServer(t *testing.T, dir, loopPool string) *server {
	t.Helper()
	s := &server{
		T: t, binary: filepath.Join(dir, "loam"), config: filepath.Join(dir, "loam.yaml"),
		socket: filepath.Join(dir, "csi.sock"), log: filepath.Join(dir, "loam.log"),
	}
	build := []string{"build", "-o", s.binary}
	if raceDetector() {
		build = append(build, "-race")
	}
	s.ok("build loam", scratch.Run("go", append(build, "github.com/loam-storage/loam/cmd/loam")...))
	s.ok("configure loam", os.WriteFile(s.config, []byte(fmt.Sprintf("node: %s\npools: [{name: %s, loop: %s}]\n", nodeName, poolName, loopPool)), 0o600))
	t.Cleanup(func() {
		if s.process != nil {
			s.kill()
		}
		text, err := os.ReadFile(s.log)
		s.ok("read the log", err)
		if strings.Contains(string(text), "DATA RACE") || strings.Contains(string(text), "panic") {
			t.Error("loam had a data race or a panic")
		}
		if t.Failed() {
			t.Logf("loam said:\n%s", text)
			s.ok("sweep", scratch.Sweep(dir))
		}
	})
	return s
}

// raceDetector reports whether this test was built with it.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func (s *server) ok(what string, err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

// start starts loam and waits until it answers.
func (s *server) start() {
	s.Helper()
	// A file and no pipe, which the watchdog would inherit and keep open when loam is gone.
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	s.ok("open the log", err)
	defer log.Close()
	process := exec.Command(s.binary, "serve", "--config", s.config, "--state-dir", filepath.Join(filepath.Dir(s.config), "state"), "--endpoint", "unix://"+s.socket)
	process.Stdout, process.Stderr = log, log
	process.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0") // else the race detector ends it a second later
	s.ok("start loam", process.Start())
	s.process, s.ended = process, make(chan error, 1)
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	ended := s.ended
	go func() {
		ended <- process.Wait()
		cancel() // it will not answer any more
	}()
	// By default a client waits a second before it tries again, which is an age here.
	again := grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1.5, MaxDelay: 50 * time.Millisecond}})
	s.connection, err = grpc.NewClient("unix://"+s.socket, grpc.WithTransportCredentials(insecure.NewCredentials()), again)
	s.ok("connect", err)
	s.controller, s.node = csi.NewControllerClient(s.connection), csi.NewNodeClient(s.connection)
	for {
		// The socket of a process that was killed is there until the new one takes it over.
		_, err := csi.NewIdentityClient(s.connection).Probe(ctx, &csi.ProbeRequest{}, grpc.WaitForReady(true))
		if err == nil {
			return
		}
		s.ok("wait for loam to answer", ctx.Err())
	}
}

// kill ends loam as a power cut would, the machine excepted.
func (s *server) kill() {
	s.Helper()
	s.ok("kill loam", s.process.Process.Kill())
	<-s.ended
	s.gone()
}

// stop ends loam as a service manager does. It has to end well, and soon.
func (s *server) stop() {
	s.Helper()
	s.ok("stop loam", s.process.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-s.ended:
		s.gone()
		s.ok("loam, told to stop", err)
	case <-time.After(patience):
		s.Fatalf("loam did not stop within %s", patience)
	}
}

func (s *server) gone() {
	s.process = nil
	_ = s.connection.Close()
}
