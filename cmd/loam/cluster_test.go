package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// pki makes certificates in a directory: <name>.crt and <name>.key, signed by ca.crt.
type pki struct {
	dir string
	ca  *x509.Certificate
	key *ecdsa.PrivateKey
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	p := &pki{dir: t.TempDir()}
	p.make(t, "ca")
	return p
}

func (p *pki) make(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, DNSNames: []string{name}}
	if p.ca == nil {
		c.IsCA, c.BasicConstraintsValid, c.ExtKeyUsage, c.DNSNames = true, true, nil, nil
		p.ca, p.key = c, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, p.ca, key.Public(), p.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{p.path(name + ".crt"): {Type: "CERTIFICATE", Bytes: raw}, p.path(name + ".key"): {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (p *pki) path(name string) string { return filepath.Join(p.dir, name) }

// running runs something until stop is called, or the test ends.
func runningUntil(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func connect(t *testing.T, socket string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// eventually calls f until it has no error.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// A controller and two nodes with certificates: volumes come to the node that the topology names, the kubelet
// of a node sees its own, and one node can be gone and back.
func TestControllerAndNodesAreACluster(t *testing.T) {
	needsRoot(t)
	certificates, dir := newPKI(t), t.TempDir()
	for _, name := range []string{"localhost", "n1", "n2"} {
		certificates.make(t, name)
	}
	free, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	_ = free.Close()
	socket := filepath.Join(dir, "controller.sock")
	runningUntil(t, func(ctx context.Context) error {
		return runController(ctx, controllerOptions{endpoint: socket, listen: address, certificate: certificates.path("localhost.crt"),
			key: certificates.path("localhost.key"), clientCA: certificates.path("ca.crt")})
	})
	start := func(name string) (stop func()) {
		config := filepath.Join(dir, name+".yaml")
		pool := filepath.Join(dir, name)
		if err := os.WriteFile(config, []byte("pools: [{name: default, loop: {directory: "+pool+", allocation: sparse}}]"), 0o600); err != nil {
			t.Fatal(err)
		}
		kubelet := filepath.Join(dir, "kubelet-"+name)
		if err := os.MkdirAll(filepath.Join(kubelet, "plugins_registry"), 0o700); err != nil {
			t.Fatal(err)
		}
		return runningUntil(t, func(ctx context.Context) error {
			return runNode(ctx, nodeOptions{config: config, name: name, kubeletDir: kubelet, controllers: []string{"localhost:" + port},
				ca: certificates.path("ca.crt"), certificate: certificates.path(name + ".crt"), key: certificates.path(name + ".key")})
		})
	}
	start("n1")
	stop := start("n2")
	control := csi.NewControllerClient(connect(t, socket))
	create := func(name, node string) (*csi.Volume, error) {
		made, err := control.CreateVolume(t.Context(), &csi.CreateVolumeRequest{
			Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: 64 << 20},
			AccessibilityRequirements: &csi.TopologyRequirement{Requisite: []*csi.Topology{{Segments: map[string]string{"loam.storage/node": node}}}},
			VolumeCapabilities: []*csi.VolumeCapability{{
				AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
				AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			}},
		})
		return made.GetVolume(), err
	}
	for _, node := range []string{"n1", "n2"} {
		eventually(t, func() error {
			made, err := create("of-"+node, node)
			if err == nil && made.GetVolumeId() != node+"/default/of-"+node {
				t.Errorf("it is called %q", made.GetVolumeId())
			}
			return err
		})
	}
	// What the kubelet does.
	for _, node := range []string{"n1", "n2"} {
		kubelet := filepath.Join(dir, "kubelet-"+node)
		plugin := registration.NewRegistrationClient(connect(t, filepath.Join(kubelet, "plugins_registry", "loam.storage-reg.sock")))
		info, err := plugin.GetInfo(t.Context(), &registration.InfoRequest{})
		if err != nil || info.GetType() != "CSIPlugin" || info.GetName() != "loam.storage" {
			t.Fatalf("%v, %v", info, err)
		}
		says, err := csi.NewNodeClient(connect(t, info.GetEndpoint())).NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
		if err != nil || says.GetNodeId() != node {
			t.Errorf("%v, %v", says, err)
		}
		if _, err := plugin.NotifyRegistrationStatus(t.Context(), &registration.RegistrationStatus{PluginRegistered: true}); err != nil {
			t.Error(err)
		}
	}
	count := func(want int) {
		t.Helper()
		eventually(t, func() error {
			all, err := control.ListVolumes(t.Context(), &csi.ListVolumesRequest{})
			if err == nil && len(all.GetEntries()) != want {
				err = fmt.Errorf("%d volumes are listed, want %d", len(all.GetEntries()), want)
			}
			return err
		})
	}
	count(2)
	stop()
	count(1)
	if _, err := control.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "n2/default/of-n2"}); status.Code(err) != codes.Unavailable {
		t.Errorf("a volume of a node that is away is deleted: %v", err)
	}
	start("n2")
	count(2)
	for _, node := range []string{"n1", "n2"} {
		if _, err := control.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: node + "/default/of-" + node}); err != nil {
			t.Error(err)
		}
	}
	count(0)
}
