package driver

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// maxSocketPathBytes is what Linux has room for in an address (sun_path), with its final zero.
const maxSocketPathBytes = 107

// socket is a claimed unix socket, and the listener for gRPC on it. To close it as a listener means
// to take no more calls, not to give up the claim: until release, who connects is turned away at
// once, and a process that looks whether the socket is stale finds that it is not.
type socket struct {
	path     string
	listener *net.UnixListener
	file     fs.FileInfo // which file at path is ours

	accepting sync.Once
	accepted  chan net.Conn
	closing   sync.Once
	closed    chan struct{}
}

// SocketPath reads an endpoint: unix:///path, unix:/path or a plain path. The kind of its error is
// Invalid; CSI knows no endpoint but a unix socket (spec, "Transport").
func SocketPath(endpoint string) (string, error) {
	path, isURL := strings.CutPrefix(endpoint, "unix:")
	if isURL && strings.HasPrefix(path, "//") {
		path = strings.TrimPrefix(path, "//")
	}
	switch {
	case path == "":
		return "", volume.Errorf(volume.Invalid, "endpoint %q names no socket: write unix:///path/csi.sock", endpoint)
	case isURL && !filepath.IsAbs(path):
		return "", volume.Errorf(volume.Invalid, "endpoint %q: the path of a socket begins with /, as in unix:///path/csi.sock", endpoint)
	case !isURL && strings.Contains(path, "://"):
		return "", volume.Errorf(volume.Invalid, "endpoint %q: only unix sockets are served, as in unix:///path/csi.sock", endpoint)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", volume.Errorf(volume.Invalid, "endpoint %q: %w", endpoint, err)
	}
	if len(path) > maxSocketPathBytes {
		return "", volume.Errorf(volume.Invalid, "endpoint %q: a socket's path has at most %d bytes, this one has %d", endpoint, maxSocketPathBytes, len(path))
	}
	return path, nil
}

// claim makes the socket, with its directory where that is missing, and listens on it. The kind of
// its error is InUse where another process listens there, Invalid where something else is in the way.
func claim(path string) (*socket, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, volume.Errorf(volume.Invalid, "socket %q: %w", path, err)
	}
	warnOfDirectory(filepath.Dir(path))
	unlock, err := lockDirectory(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		// Linux gives the file the mode of the socket it is bound from, so there is no instant at
		// which others could open it. The umask would do that too, but for the whole process.
		var modeErr error
		err := c.Control(func(fd uintptr) { modeErr = syscall.Fchmod(int(fd), 0o600) })
		return errors.Join(err, modeErr)
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, volume.Errorf(volume.Invalid, "socket %q: %w", path, err)
	}
	listener := l.(*net.UnixListener)
	listener.SetUnlinkOnClose(false)
	file, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(volume.Errorf(volume.Internal, "socket %q: %w", path, err), listener.Close())
	}
	return &socket{path: path, listener: listener, file: file, accepted: make(chan net.Conn), closed: make(chan struct{})}, nil
}

// removeStale removes a socket that nobody listens on, and nothing else.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return volume.Errorf(volume.Invalid, "socket %q: %w", path, err)
	case info.Mode().Type() != fs.ModeSocket:
		return volume.Errorf(volume.Invalid, "socket %q: something that is no socket is there: remove it or choose another path", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		return errors.Join(volume.Errorf(volume.InUse, "socket %q: another process serves on it: stop that or choose another path", path), conn.Close())
	case errors.Is(err, syscall.ECONNREFUSED):
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return volume.Errorf(volume.InUse, "socket %q is there and cannot be taken over: %w", path, err)
	}
	return nil
}

// warnOfDirectory says in the log that anybody may write to the directory of the socket. It is not refused: an emptyDir of a
// pod is such a directory, which nobody but the pod can reach.
func warnOfDirectory(path string) {
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o002 != 0 {
		klog.Background().Info("whoever reaches the directory of the socket may put another socket in its place: outside of a pod, take away the right to write to it (chmod o-w)", "directory", path)
	}
}

// lockPatience is how long lockDirectory waits. A loam has the lock for milliseconds.
const lockPatience = 2 * time.Second

// lockDirectory keeps other processes of loam from claiming or releasing a socket in the directory:
// two that find a stale one at the same time would else remove each other's. The lock is on the
// directory itself, since CSI allows no file beside the socket. Whoever may read the directory can lock it too: a lock
// that is held for longer than lockPatience is no loam's, and is not waited for.
func lockDirectory(path string) (unlock func(), err error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, volume.Errorf(volume.Invalid, "directory of the socket: %w", err)
	}
	for until := time.Now().Add(lockPatience); ; time.Sleep(10 * time.Millisecond) {
		err = syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		late := time.Now().After(until)
		switch {
		case errors.Is(err, syscall.EWOULDBLOCK) && late:
			klog.Background().Info("somebody holds a lock on the directory of the socket, and is not waited for: take away the right to read it from others", "directory", path)
			return func() { _ = dir.Close() }, nil
		case err == nil:
			return func() { _ = dir.Close() }, nil // which gives up the lock
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) || late:
			return nil, errors.Join(volume.Errorf(volume.InUse, "directory %q of the socket cannot be locked: %w", path, err), dir.Close())
		}
	}
}

// Accept returns the next connection, or net.ErrClosed after Close.
func (s *socket) Accept() (net.Conn, error) {
	s.accepting.Do(func() { go s.accept() })
	select {
	case conn := <-s.accepted:
		return conn, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// accept takes connections until release, and turns them away after Close.
func (s *socket) accept() {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no file descriptor or no memory, and maybe soon there is
			time.Sleep(100 * time.Millisecond)
			continue
		}
		select {
		case s.accepted <- conn:
		case <-s.closed:
			_ = conn.Close()
		}
	}
}

// Close ends Accept. It keeps the claim.
func (s *socket) Close() error {
	s.closing.Do(func() { close(s.closed) })
	return nil
}

// Addr returns the socket's address.
func (s *socket) Addr() net.Addr { return s.listener.Addr() }

// release gives up the claim. It removes the socket unless something else has taken its place since.
func (s *socket) release() error {
	_ = s.Close()
	unlock, err := lockDirectory(filepath.Dir(s.path))
	if err == nil {
		defer unlock()
		// Before the listener is closed: while it is open no other file can have its inode number.
		if now, statErr := os.Lstat(s.path); statErr == nil && os.SameFile(now, s.file) {
			err = os.Remove(s.path)
		}
	}
	return errors.Join(err, s.listener.Close())
}
