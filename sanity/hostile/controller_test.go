package hostile_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/klog/v2"

	services "github.com/loam-storage/loam/controller"
	"github.com/loam-storage/loam/controller/fleet/link"
	"github.com/loam-storage/loam/driver"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/scratch"
)

const patience = 2 * time.Minute // for what takes milliseconds

// controller is `loam controller` in a process of its own, built as it is released, and a client of it.
type controller struct {
	csi.ControllerClient
	of           certificates
	log, address string
	process      *exec.Cmd
}

func startController(t *testing.T) *controller {
	t.Helper()
	dir, err := os.MkdirTemp("", "hostile") // a short one, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := &controller{of: certificates{dir}, log: filepath.Join(dir, "log")}
	others := certificates{filepath.Join(dir, "others")}
	for _, err := range []error{
		os.Mkdir(others.dir, 0o700), others.make("evil"), c.of.make("controller", "evil", "n1", "n2", "n3", "n4"),
		scratch.Run("go", "build", "-o", filepath.Join(dir, "loam"), "github.com/loam-storage/loam/cmd/loam"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(c.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c.process = exec.Command(filepath.Join(dir, "loam"), "controller", "--endpoint", filepath.Join(dir, "c.sock"), "--listen", "127.0.0.1:0",
		"--certificate", c.of.path("controller.crt"), "--key", c.of.path("controller.key"), "--client-ca", c.of.path("ca.crt"))
	c.process.Stdout, c.process.Stderr = log, log
	if err := c.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.process.Process.Kill()
		_ = c.process.Wait()
		if text := c.said(t); t.Failed() {
			t.Logf("the controller said, at the end: %s", text[max(0, len(text)-8<<10):])
		}
	})
	where := regexp.MustCompile(`waiting for nodes.*address="([^"]*)"`)
	eventually(t, "the controller", func() bool {
		found := where.FindStringSubmatch(c.said(t))
		if found != nil {
			c.address = found[1]
		}
		return found != nil
	})
	conn, err := grpc.NewClient("unix://"+filepath.Join(dir, "c.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c.ControllerClient = csi.NewControllerClient(conn)
	return c
}

func (c *controller) said(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(c.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// connect runs an honest node until the end of the test, and waits for the controller to know it.
func (c *controller) connect(t *testing.T, name string) {
	t.Helper()
	p := memory.New("default", name, volume.TiB)
	set, err := pool.NewSet(name, p)
	if err != nil {
		t.Fatal(err)
	}
	control := services.New(services.Config{Pools: set})
	d, err := driver.New(driver.Config{Endpoint: c.of.path(name), Version: "test", Controller: control, Group: control, Inventory: services.NewInventory(set)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(klog.NewContext(context.Background(), klog.Logger{}))
	server := d.Remote(ctx, link.ServerOptions()...)
	var dialing sync.WaitGroup
	dialing.Go(func() {
		link.Dialer{Address: c.address, Node: name, Server: server, TLS: func() (*tls.Config, error) { return c.of.of(name) }}.Run(ctx)
	})
	t.Cleanup(func() {
		stop()
		dialing.Wait()
		server.Stop()
		_ = p.Close()
	})
	eventually(t, "node "+name, func() bool {
		_, err := c.GetCapacity(t.Context(), &csi.GetCapacityRequest{AccessibleTopology: &csi.Topology{Segments: map[string]string{volume.TopologyKey: name}}})
		return err == nil
	})
}

// attack starts a process that attacks the controller, until the function that is returned is called, which returns how often it did.
func (c *controller) attack(t *testing.T, name string) (end func() int64) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	attacker := exec.Command(self)
	attacker.Env = append(os.Environ(), attackVariable+"="+name, "LOAM_ATTACK_ADDRESS="+c.address, "LOAM_ATTACK_CERTIFICATES="+c.of.dir)
	var said strings.Builder
	attacker.Stdout, attacker.Stderr = &said, &said
	hold, err := attacker.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := attacker.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- attacker.Wait() }()
	t.Cleanup(func() { _ = attacker.Process.Kill() }) // where a test fails before it ends it
	return func() (attempts int64) {
		_ = hold.Close()
		select {
		case err := <-ended:
			if _, bad := fmt.Sscan(said.String(), &attempts); err != nil || bad != nil {
				t.Errorf("the attack %q: %v, %v: %.2000s", name, err, bad, said.String())
			}
		case <-time.After(patience):
			_ = attacker.Process.Kill()
			<-ended
			t.Errorf("the attack %q does not end", name)
		}
		return attempts
	}
}

// eventually waits for what ends within patience.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(20 * time.Millisecond) { // between two looks
		if time.Since(began) > patience {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func volumeOf(name string, nodes ...string) *csi.CreateVolumeRequest {
	r := &csi.CreateVolumeRequest{Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: 1 << 20}, VolumeCapabilities: []*csi.VolumeCapability{{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
	}}}
	for _, n := range nodes {
		if r.AccessibilityRequirements == nil {
			r.AccessibilityRequirements = &csi.TopologyRequirement{}
		}
		r.AccessibilityRequirements.Requisite = append(r.AccessibilityRequirements.Requisite, &csi.Topology{Segments: map[string]string{volume.TopologyKey: n}})
	}
	return r
}

func describe(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }
