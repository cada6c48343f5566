package node

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"
	"k8s.io/klog/v2"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/loam-storage/loam/driver/volume"
)

// Registration makes this driver known to the kubelet, which looks for sockets in its plugins_registry
// directory, asks each whose it is, and answers whether it took it (plugin registration API v1).
//
// The socket stays when the process ends. To remove it tells the kubelet that the driver is gone for good,
// and the scheduler would know no volumes of this node until the next process has started.
type Registration struct {
	registration.UnimplementedRegistrationServer
	path     string // of the socket
	endpoint string // of the driver, as the kubelet finds it

	mu  sync.Mutex
	err error // nil once the kubelet has taken it
}

// NewRegistration returns a Registration with the kubelet whose directory that is, usually /var/lib/kubelet,
// of a driver that serves on the socket at endpoint.
func NewRegistration(kubeletDir, endpoint string) *Registration {
	return &Registration{
		path:     filepath.Join(kubeletDir, "plugins_registry", volume.DriverName+"-reg.sock"),
		endpoint: endpoint,
		err:      volume.Errorf(volume.Unavailable, "the kubelet has not asked for the registration yet"),
	}
}

// Registered says whether the kubelet has taken the driver. The kind of its error is Unavailable.
func (r *Registration) Registered() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// lookEvery is how often somebody is looked for who has removed the socket. It takes one system call.
const lookEvery = 5 * time.Second

// Serve answers the kubelet until ctx ends. It makes the socket anew when it is gone.
func (r *Registration) Serve(ctx context.Context) error {
	for {
		err := r.serveOnce(ctx)
		if ctx.Err() != nil || err != nil {
			return err
		}
		klog.FromContext(ctx).Info("the registration socket is gone, making it again", "socket", r.path)
	}
}

// serveOnce serves on a new socket until that is gone or ctx ends.
func (r *Registration) serveOnce(ctx context.Context) error {
	listener, file, err := r.listen()
	if err != nil {
		return volume.Errorf(volume.Unavailable, "registration with the kubelet: %w", err)
	}
	server := grpc.NewServer()
	registration.RegisterRegistrationServer(server, r)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer server.Stop()
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-served:
			return volume.Errorf(volume.Internal, "registration with the kubelet: %w", err)
		case <-ticks.C:
			now, err := os.Lstat(r.path)
			if errors.Is(err, fs.ErrNotExist) || (err == nil && !os.SameFile(now, file)) {
				return nil
			}
		}
	}
}

// listen makes the socket in place of one that an earlier process may have left. It comes to its name when
// it can be called: the kubelet, which ignores names with a dot in front, dials what it sees at once.
func (r *Registration) listen() (net.Listener, fs.FileInfo, error) {
	making := filepath.Join(filepath.Dir(r.path), "."+filepath.Base(r.path))
	if err := os.Remove(making); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: making})
	if err != nil {
		return nil, nil, err
	}
	listener.SetUnlinkOnClose(false)
	file, err := os.Lstat(making)
	if err == nil {
		err = os.Chmod(making, 0o600)
	}
	if err == nil {
		err = os.Rename(making, r.path)
	}
	if err != nil {
		return nil, nil, errors.Join(err, listener.Close())
	}
	return listener, file, nil
}

// GetInfo says what is registered.
func (r *Registration) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:              registration.CSIPlugin,
		Name:              volume.DriverName,
		Endpoint:          r.endpoint,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

// NotifyRegistrationStatus is told how it went. The kubelet tries again by itself where it went wrong.
func (r *Registration) NotifyRegistrationStatus(ctx context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.GetPluginRegistered() {
		r.err = nil
		klog.Background().Info("registered with the kubelet", "endpoint", r.endpoint)
		return &registration.RegistrationStatusResponse{}, nil
	}
	r.err = volume.Errorf(volume.Unavailable, "the kubelet refused the registration: %.500s", s.GetError())
	klog.Background().Error(r.err, "not registered", "endpoint", r.endpoint)
	return &registration.RegistrationStatusResponse{}, nil
}
