package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/moby/sys/mountinfo"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// cluster is a controller and nodes on this machine, each a process of its own, with certificates.
type cluster struct {
	*testing.T
	dir          string
	certificates *pki
	controller   *process
	address      string // of the controller
	csi.ControllerClient
}

func newCluster(t *testing.T, nodes ...string) *cluster {
	t.Helper()
	c := &cluster{T: t, dir: shortDir(t), certificates: newPKI(t, append(nodes, "localhost")...)}
	t.Cleanup(c.tidy)
	c.startController("localhost:0")
	_, port, _ := strings.Cut(c.controller.says(`waiting for nodes.*address="([^"]*)"`), ":")
	c.address = "localhost:" + port
	c.ControllerClient = csi.NewControllerClient(connect(t, c.path("c.sock")))
	return c
}

func (c *cluster) path(elements ...string) string {
	return filepath.Join(append([]string{c.dir}, elements...)...)
}

// startController starts the controller until it waits for nodes. Between two of them somebody else may have its port for
// a moment, such as a node that dials it and gets it for its own end.
func (c *cluster) startController(address string) {
	c.Helper()
	const taken = "address already in use"
	eventually(c.T, func() error {
		c.controller = startLoam(c.T, "controller", "--endpoint", c.path("c.sock"), "--listen", address,
			"--certificate", c.certificates.path("localhost.crt"), "--key", c.certificates.path("localhost.key"), "--client-ca", c.certificates.path("ca.crt"))
		if c.controller.says("(waiting for nodes|"+taken+")") != taken {
			return nil
		}
		_ = c.controller.end() // which says the same
		return fmt.Errorf("%s: %s", address, taken)
	})
}

// startNode starts a node with a pool that has a file system of its own, in the directory that it always has.
func (c *cluster) startNode(name string) *process {
	c.Helper()
	return c.startNodeWith(name, "")
}

// startNodeWith is startNode with further pools, each as "{name: ...}".
func (c *cluster) startNodeWith(name, further string) *process {
	c.Helper()
	config := fmt.Sprintf("pools: [{name: default, loop: {directory: %s, size: 400Mi, allocation: sparse, create: true}}, %s]", c.path(name, "pool"), further)
	for _, dir := range []string{c.path(name, "plugins_registry"), c.path(name, "pods")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			c.Fatal(err)
		}
	}
	if err := os.WriteFile(c.path(name, "loam.yaml"), []byte(config), 0o600); err != nil {
		c.Fatal(err)
	}
	return startLoam(c.T, "node", "--node", name, "--config", c.path(name, "loam.yaml"), "--state-dir", c.path(name, "state"), "--kubelet-dir", c.path(name), "--http", "localhost:0",
		"--controller", c.address, "--ca", c.certificates.path("ca.crt"), "--certificate", c.certificates.path(name+".crt"), "--key", c.certificates.path(name+".key"))
}

// tidy takes away what a test that has failed has left mounted.
func (c *cluster) tidy() {
	for range 3 { // a pool's file system, and what is mounted from files in it
		all, _ := mountinfo.GetMounts(mountinfo.PrefixFilter(c.dir))
		for _, m := range slices.Backward(all) {
			_ = syscall.Unmount(m.Mountpoint, 0)
		}
		loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
		for _, path := range loops {
			if text, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(text), c.dir+"/") {
				_ = exec.Command("losetup", "-d", "/dev/"+strings.Split(path, "/")[3]).Run()
			}
		}
	}
}

var mounted = &csi.VolumeCapability{
	AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER},
	AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
}

func (c *cluster) create(name, node string) (handle string, err error) {
	made, err := c.CreateVolume(c.Context(), &csi.CreateVolumeRequest{
		Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: 16 << 20}, VolumeCapabilities: []*csi.VolumeCapability{mounted},
		AccessibilityRequirements: &csi.TopologyRequirement{Requisite: []*csi.Topology{{Segments: map[string]string{"loam.storage/node": node}}}},
	})
	return made.GetVolume().GetVolumeId(), err
}

// has waits until the volumes of all nodes that are connected are the given ones.
func (c *cluster) has(want ...string) {
	c.Helper()
	slices.Sort(want)
	eventually(c.T, func() error {
		all, err := c.ListVolumes(c.Context(), &csi.ListVolumesRequest{})
		var got []string
		for _, e := range all.GetEntries() {
			got = append(got, e.GetVolume().GetVolumeId())
		}
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("listed are %v, want %v", got, want)
		}
		return err
	})
}

// register does what the kubelet does with the socket in its directory, and returns what it would call then.
func (c *cluster) register(node string) csi.NodeClient {
	c.Helper()
	plugin := registration.NewRegistrationClient(connect(c.T, c.path(node, "plugins_registry", "loam.storage-reg.sock")))
	info, err := plugin.GetInfo(c.Context(), &registration.InfoRequest{})
	if err != nil {
		c.Fatal(err)
	}
	client := csi.NewNodeClient(connect(c.T, info.GetEndpoint()))
	if says, err := client.NodeGetInfo(c.Context(), &csi.NodeGetInfoRequest{}); err != nil || says.GetNodeId() != node {
		c.Fatalf("%v, %v", says, err)
	}
	if _, err := plugin.NotifyRegistrationStatus(c.Context(), &registration.RegistrationStatus{PluginRegistered: true}); err != nil {
		c.Fatal(err)
	}
	return client
}

// publish has a volume appear at the path of a pod that it returns.
func (c *cluster) publish(client csi.NodeClient, node, handle string) string {
	c.Helper()
	staging, target := c.path(node, "pods", "staging"), c.path(node, "pods", "target")
	if err := os.MkdirAll(staging, 0o700); err != nil {
		c.Fatal(err)
	}
	if _, err := client.NodeStageVolume(c.Context(), &csi.NodeStageVolumeRequest{VolumeId: handle, StagingTargetPath: staging, VolumeCapability: mounted}); err != nil {
		c.Fatal(err)
	}
	if _, err := client.NodePublishVolume(c.Context(), &csi.NodePublishVolumeRequest{VolumeId: handle, StagingTargetPath: staging, TargetPath: target, VolumeCapability: mounted}); err != nil {
		c.Fatal(err)
	}
	return target
}

func (c *cluster) unpublish(client csi.NodeClient, node, handle string) {
	c.Helper()
	if _, err := client.NodeUnpublishVolume(c.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: handle, TargetPath: c.path(node, "pods", "target")}); err != nil {
		c.Error(err)
	}
	if _, err := client.NodeUnstageVolume(c.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: handle, StagingTargetPath: c.path(node, "pods", "staging")}); err != nil {
		c.Error(err)
	}
}

func (c *cluster) delete(handles ...string) {
	c.Helper()
	for _, handle := range handles {
		if _, err := c.DeleteVolume(c.Context(), &csi.DeleteVolumeRequest{VolumeId: handle}); err != nil {
			c.Errorf("%s: %v", handle, err)
		}
	}
}

// mounts returns how many mounts there are in the directory of a node.
func (c *cluster) mounts(node string) int {
	c.Helper()
	all, err := mountinfo.GetMounts(mountinfo.PrefixFilter(c.path(node)))
	if err != nil {
		c.Fatal(err)
	}
	return len(all)
}

func wantReady(t *testing.T, p *process, code int) {
	t.Helper()
	resp, err := http.Get("http://" + p.says(`serving metrics.*address="([^"]*)"`) + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != code {
		t.Errorf("/readyz answers %d, want %d: %s %v", resp.StatusCode, code, body, err)
	}
}
