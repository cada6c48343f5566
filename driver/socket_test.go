package driver

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"github.com/loam-storage/loam/driver/volume"
)

func TestAnEndpointIsAUnixSocket(t *testing.T) {
	for endpoint, want := range map[string]string{
		"unix:///run/loam/csi.sock":                     "/run/loam/csi.sock",
		"unix:/run/loam/csi.sock":                       "/run/loam/csi.sock",
		"/run/loam/csi.sock":                            "/run/loam/csi.sock",
		"unix:///run//loam/csi.sock":                    "/run/loam/csi.sock",
		"/" + strings.Repeat("a", maxSocketPathBytes-1): "/" + strings.Repeat("a", maxSocketPathBytes-1),
	} {
		if got, err := SocketPath(endpoint); got != want || err != nil {
			t.Errorf("%q is %q, %v; want %q", endpoint, got, err, want)
		}
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := SocketPath("csi.sock"); len(here) < 90 && (got != filepath.Join(here, "csi.sock") || err != nil) {
		t.Errorf("a relative path is %q, %v", got, err)
	}
	for _, endpoint := range []string{"", "unix:", "unix://", "unix:csi.sock", "unix://csi.sock", "tcp://127.0.0.1:1", "http://a/b",
		"/" + strings.Repeat("a", maxSocketPathBytes)} {
		if path, err := SocketPath(endpoint); !volume.Is(err, volume.Invalid) {
			t.Errorf("%q is %q, %v; want Invalid", endpoint, path, err)
		}
	}
}

func TestNobodyElseMayOpenTheSocketAtAnyInstant(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := socketFile(t)
	stop := make(chan struct{})
	seen := make(chan fs.FileMode)
	go func() {
		var union fs.FileMode
		for {
			select {
			case <-stop:
				seen <- union
				return
			default:
			}
			if info, err := os.Lstat(path); err == nil {
				union |= info.Mode()
			}
		}
	}()
	for range 300 {
		s, err := claim(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != fs.ModeSocket|0o600 {
			t.Fatalf("the socket is %v, %v", info, err)
		}
		if err := s.release(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if union := receive(t, seen, "the watcher"); union&0o177 != 0 {
		t.Errorf("the socket was seen with mode %s", union)
	}
}

func TestTheDirectoryIsMadeAndHoldsOnlyTheSocket(t *testing.T) {
	path := filepath.Join(filepath.Dir(socketFile(t)), "a", "b", "csi.sock")
	r := start(t, Config{Endpoint: "unix:" + path})
	info, err := os.Stat(filepath.Dir(path))
	if err != nil || info.Mode().Perm()&^0o750 != 0 {
		t.Errorf("directory: %v, %v", info, err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the socket: %v, %v", entries, err)
	}
	if err := r.stop(t); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket after the end: %v", err)
	}
}

// leaveStale leaves what a killed process leaves: a socket that nobody listens on.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
}

func TestAStaleSocketIsTakenOver(t *testing.T) {
	path := socketFile(t)
	leaveStale(t, path)
	r := start(t, Config{Endpoint: path})
	if _, err := r.identity.Probe(t.Context(), &csi.ProbeRequest{}); err != nil {
		t.Error(err)
	}
}

func TestOfManyThatFindAStaleSocketOneGetsIt(t *testing.T) {
	path := socketFile(t)
	for range 20 {
		leaveStale(t, path)
		var group sync.WaitGroup
		claimed := make(chan *socket, 8)
		for range cap(claimed) {
			group.Go(func() {
				s, err := claim(path)
				if err == nil {
					claimed <- s
				} else if !volume.Is(err, volume.InUse) {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if len(claimed) != 1 {
			t.Fatalf("%d have the socket", len(claimed))
		}
		if err := (<-claimed).release(); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever may read the directory can lock it, and keeps loam neither from starting nor from ending.
func TestALockOfSomebodyElseStopsNothing(t *testing.T) {
	path := socketFile(t)
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	leaveStale(t, path)
	s, err := claim(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := claim(path); !volume.Is(err, volume.InUse) {
		t.Errorf("a second one: %v", err)
	}
	if err := s.release(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket after the end: %v", err)
	}
}

// An emptyDir of Kubernetes is one.
func TestADirectoryInWhichAnybodyMayPutASocketIsWarnedOf(t *testing.T) {
	dir := filepath.Dir(socketFile(t))
	for mode, warned := range map[fs.FileMode]bool{0o777: true, 0o702: true, 0o777 | fs.ModeSticky: true, 0o770: false, 0o755: false} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		written := logged(t, func() {
			s, err := claim(filepath.Join(dir, "csi.sock"))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.release(); err != nil {
				t.Error(err)
			}
		})
		if strings.Contains(written, "another socket in its place") != warned {
			t.Errorf("%s: the log has %q", mode, written)
		}
	}
}

func TestALiveSocketIsLeftAlone(t *testing.T) {
	r := start(t, Config{})
	_, err := New(Config{Endpoint: r.socket.path, Version: "2"})
	if !volume.Is(err, volume.InUse) || !strings.Contains(err.Error(), r.socket.path) {
		t.Errorf("the second: %v", err)
	}
	if _, err := r.identity.Probe(t.Context(), &csi.ProbeRequest{}); err != nil {
		t.Errorf("the first afterwards: %v", err)
	}
}

func TestWhatIsNoSocketIsLeftAlone(t *testing.T) {
	for what, put := range map[string]func(path string) error{
		"a file":      func(path string) error { return os.WriteFile(path, []byte("kept"), 0o600) },
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"a symlink":   func(path string) error { return os.Symlink("nowhere", path) },
	} {
		path := socketFile(t)
		if err := put(path); err != nil {
			t.Fatal(err)
		}
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{Endpoint: path, Version: "1"}); !volume.Is(err, volume.Invalid) {
			t.Errorf("%s in the way: %v", what, err)
		}
		if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s afterwards: %v, %v", what, after, err)
		}
	}
}

func TestASocketThatAnotherHasReplacedIsNotRemoved(t *testing.T) {
	r := start(t, Config{})
	if err := os.Remove(r.socket.path); err != nil {
		t.Fatal(err)
	}
	other, err := claim(r.socket.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.stop(t); err != nil {
		t.Fatal(err)
	}
	if now, err := os.Lstat(r.socket.path); err != nil || !os.SameFile(now, other.file) {
		t.Errorf("the other's socket: %v, %v", now, err)
	}
	if err := other.release(); err != nil {
		t.Error(err)
	}
}

func TestNewLeavesNothingWhereItFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	path := socketFile(t)
	if _, err := New(Config{Endpoint: path, Version: "1", HTTPAddress: taken.Addr().String()}); !volume.Is(err, volume.InUse) {
		t.Errorf("a metrics address that is taken: %v", err)
	}
	if _, err := New(Config{Endpoint: path}); !volume.Is(err, volume.Invalid) {
		t.Errorf("no version: %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("socket: %v", err)
	}
}

func TestAServerThatIsToldToStopBeforeItBeginsStops(t *testing.T) {
	path := socketFile(t)
	s, err := New(Config{Endpoint: path, Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Serve(ctx); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("socket: %v", err)
	}
}

// logged returns what is logged while do runs.
func logged(t *testing.T, do func()) string {
	t.Helper()
	defer klog.CaptureState().Restore()
	var written bytes.Buffer
	klog.SetLogger(textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&written))))
	do()
	return written.String()
}
