package node_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/loam-storage/loam/driver/volume"
)

// kubelet does what the real one does with its plugins_registry directory: it calls each socket that comes to have
// a name there, and takes the plugin if the service behind it says which node this is. It tries again what failed.
type kubelet struct {
	dir string

	mu     sync.Mutex
	refuse string          // why it takes nobody; empty: it does
	taken  map[string]bool // paths of the sockets of plugins that it has
	times  int             // how often it has taken one
	wrong  []string        // what a plugin did that it must not
}

// socketFile tells a socket from the next one of its name, which may get the same inode.
type socketFile struct {
	inode   uint64
	changed syscall.Timespec
}

// startKubelet runs until stop is called or the test ends. What it knew is then forgotten.
func startKubelet(t *testing.T, dir string) (k *kubelet, stop func()) {
	k = &kubelet{dir: dir, taken: map[string]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		seen := map[string]socketFile{} // the one at a path
		for ctx.Err() == nil {
			k.reconcile(ctx, seen)
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-ended
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, wrong := range k.wrong {
			t.Error(wrong)
		}
	})
	t.Cleanup(stop)
	return k, stop
}

func (k *kubelet) reconcile(ctx context.Context, seen map[string]socketFile) {
	entries, _ := os.ReadDir(filepath.Join(k.dir, "plugins_registry"))
	k.mu.Lock()
	defer k.mu.Unlock()
	there := map[string]bool{}
	for _, e := range entries {
		path := filepath.Join(k.dir, "plugins_registry", e.Name())
		info, err := e.Info()
		if err != nil || strings.HasPrefix(e.Name(), ".") || info.Mode().Type() != fs.ModeSocket {
			continue
		}
		there[path] = true
		stat := info.Sys().(*syscall.Stat_t)
		file := socketFile{stat.Ino, stat.Ctim}
		if k.taken[path] && seen[path] == file {
			continue
		}
		k.taken[path] = false // one that is new under its name replaces the plugin
		if seen[path] != file && info.Mode().Perm() != 0o600 {
			k.wrong = append(k.wrong, fmt.Sprintf("%s has mode %s", path, info.Mode()))
		}
		seen[path] = file
		if err := k.register(ctx, path); err == nil {
			k.taken[path], k.times = true, k.times+1
		}
	}
	for path := range k.taken {
		if !there[path] {
			delete(k.taken, path)
		}
	}
}

// register is what the kubelet does with a socket. The caller holds mu.
func (k *kubelet) register(ctx context.Context, path string) error {
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	plugin := registration.NewRegistrationClient(conn)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	info, err := plugin.GetInfo(ctx, &registration.InfoRequest{})
	if err != nil {
		return err
	}
	why := k.refuse
	if why == "" {
		why = k.validate(ctx, info)
	}
	if why != "" {
		_, err := plugin.NotifyRegistrationStatus(ctx, &registration.RegistrationStatus{Error: why})
		return fmt.Errorf("refused: %s, %w", why, err)
	}
	_, err = plugin.NotifyRegistrationStatus(ctx, &registration.RegistrationStatus{PluginRegistered: true})
	return err
}

func (k *kubelet) validate(ctx context.Context, info *registration.PluginInfo) (why string) {
	if info.GetType() != registration.CSIPlugin || info.GetName() != "loam.storage" || !slices.Equal(info.GetSupportedVersions(), []string{"1.0.0"}) {
		return fmt.Sprintf("it is %v", info)
	}
	conn, err := grpc.NewClient("unix:"+info.GetEndpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	says, err := csi.NewNodeClient(conn).NodeGetInfo(ctx, &csi.NodeGetInfoRequest{})
	if err != nil {
		return err.Error()
	}
	if says.GetNodeId() != nodeName || says.GetAccessibleTopology().GetSegments()[volume.TopologyKey] != nodeName {
		return fmt.Sprintf("it is on %v", says)
	}
	return ""
}

func (k *kubelet) refuses(why string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refuse = why
}

// has says whether it has the driver, and how often it has taken one.
func (k *kubelet) has() (yes bool, times int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.taken[filepath.Join(k.dir, "plugins_registry", "loam.storage-reg.sock")], k.times
}
