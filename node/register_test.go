package node_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/node"
)

// kubeletDir is short, for the paths of sockets are.
func kubeletDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "k")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "plugins_registry"), 0o750); err != nil {
		t.Fatal(err)
	}
	return dir
}

// serveDriver serves the node service on the socket in the kubelet's directory, and returns its path.
func serveDriver(t *testing.T, dir string) string {
	t.Helper()
	socket := filepath.Join(dir, "plugins", "loam.storage", "csi.sock")
	s, err := driver.New(driver.Config{Endpoint: socket, Version: "test", Node: newMachine(t).Server})
	if err != nil {
		t.Fatal(err)
	}
	untilStopped(t, s.Serve)
	return socket
}

// untilStopped runs something until stop is called or the test ends. It must end without an error.
func untilStopped(t *testing.T, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), klog.Logger{}))
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func registered(k *kubelet, r *node.Registration, times int) func() bool {
	return func() bool {
		yes, n := k.has()
		return yes && n == times && r.Registered() == nil
	}
}

func TestKubeletTakesTheDriver(t *testing.T) {
	t.Parallel()
	dir := kubeletDir(t)
	r := node.NewRegistration(dir, serveDriver(t, dir))
	if err := r.Registered(); !volume.Is(err, volume.Unavailable) {
		t.Errorf("before anybody asked: %v", err)
	}
	k, restart := startKubelet(t, dir)
	stop := untilStopped(t, r.Serve)
	eventually(t, "the kubelet to take the driver", registered(k, r, 1))

	restart()
	k, _ = startKubelet(t, dir)
	eventually(t, "a new kubelet to take the driver that is there", registered(k, r, 1))

	// A kubelet that sees the socket go takes the driver for removed.
	stop()
	if _, err := os.Lstat(filepath.Join(dir, "plugins_registry", "loam.storage-reg.sock")); err != nil {
		t.Error(err)
	}
	r = node.NewRegistration(dir, filepath.Join(dir, "plugins", "loam.storage", "csi.sock"))
	untilStopped(t, r.Serve)
	eventually(t, "the kubelet to take the driver of a new process", registered(k, r, 2))
	entries, err := os.ReadDir(filepath.Join(dir, "plugins_registry"))
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files, %v", len(entries), err)
	}
}

func TestSocketThatIsRemovedIsMadeAgain(t *testing.T) {
	t.Parallel()
	dir := kubeletDir(t)
	r := node.NewRegistration(dir, serveDriver(t, dir))
	k, _ := startKubelet(t, dir)
	untilStopped(t, r.Serve)
	eventually(t, "the kubelet to take the driver", registered(k, r, 1))
	if err := os.Remove(filepath.Join(dir, "plugins_registry", "loam.storage-reg.sock")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the kubelet to take the driver again", registered(k, r, 2))
}

// What a process that was killed has left is in nobody's way.
func TestSocketsOfADeadProcessAreReplaced(t *testing.T) {
	t.Parallel()
	dir := kubeletDir(t)
	for _, name := range []string{"loam.storage-reg.sock", ".loam.storage-reg.sock"} {
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: filepath.Join(dir, "plugins_registry", name)}); err != nil {
			t.Fatal(err)
		}
		_ = syscall.Close(fd)
	}
	if err := os.Chmod(filepath.Join(dir, "plugins_registry", "loam.storage-reg.sock"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := node.NewRegistration(dir, serveDriver(t, dir))
	k, _ := startKubelet(t, dir)
	untilStopped(t, r.Serve)
	eventually(t, "the kubelet to take the driver", registered(k, r, 1))
}

func TestKubeletThatRefusesIsHeardAndAsksAgain(t *testing.T) {
	t.Parallel()
	dir := kubeletDir(t)
	r := node.NewRegistration(dir, serveDriver(t, dir))
	k, _ := startKubelet(t, dir)
	k.refuses("the label loam.storage/node is another one")
	untilStopped(t, r.Serve)
	eventually(t, "the refusal", func() bool {
		err := r.Registered()
		return volume.Is(err, volume.Unavailable) && strings.Contains(err.Error(), "the label loam.storage/node is another one")
	})
	k.refuses("")
	eventually(t, "the kubelet to take the driver", registered(k, r, 1))
	k.refuses("now it is gone") // it is not asked again
	if err := r.Registered(); err != nil {
		t.Error(err)
	}
}

func TestWithoutAKubeletThereIsAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	err := node.NewRegistration(dir, "/csi.sock").Serve(t.Context())
	if !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), filepath.Join(dir, "plugins_registry")) {
		t.Error(err)
	}
}
