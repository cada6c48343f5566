package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A pod of one node writes and volumes are being made there when loam is killed. Nothing of it is lost or there
// twice, the pod and the other node notice nothing, and a retry finds what the first attempt made.
func TestNodeIsKilledWhileItWorks(t *testing.T) {
	needsRoot(t)
	c := newCluster(t, "n1", "n2")
	n1, n2 := c.startNode("n1"), c.startNode("n2")
	n1.says("connected to the controller")
	n2.says("connected to the controller")
	wantReady(t, n1, http.StatusServiceUnavailable)
	kubelet := c.register("n1")
	wantReady(t, n1, http.StatusOK)
	var want []string
	for _, node := range []string{"n1", "n2"} {
		handle, err := c.create("data-"+node, node)
		if err != nil || handle != node+"/default/data-"+node {
			t.Fatalf("%q, %v", handle, err)
		}
		want = append(want, handle)
	}
	pod, err := os.Create(filepath.Join(c.publish(kubelet, "n1", want[0]), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer pod.Close()
	mounts := c.mounts("n1")

	some := make(chan struct{})
	var making sync.WaitGroup
	making.Go(func() {
		for i := range 10 {
			name := fmt.Sprintf("new-%d", i)
			eventually(t, func() error { _, err := c.create(name, "n1"); return err })
			if i == 3 {
				close(some)
			}
		}
	})
	for i := range 10 {
		want = append(want, fmt.Sprintf("n1/default/new-%d", i))
	}
	<-some
	n1.kill()
	eventually(t, func() error {
		_, err := c.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: want[0]})
		if err == nil {
			t.Fatal("a volume of a node that is away is deleted")
		}
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "n1") {
			return fmt.Errorf("a volume of a node that is away: %w", err)
		}
		return nil
	})
	if handle, err := c.create("more-n2", "n2"); err != nil {
		t.Error(err)
	} else {
		want = append(want, handle)
	}
	if _, err := pod.WriteString("the pod goes on"); err != nil {
		t.Error(err)
	}
	if err := pod.Sync(); err != nil {
		t.Error(err)
	}

	n1 = c.startNode("n1")
	making.Wait()
	c.has(want...)
	kubelet = c.register("n1")
	wantReady(t, n1, http.StatusOK)
	if text, err := os.ReadFile(filepath.Join(c.publish(kubelet, "n1", want[0]), "file")); err != nil || string(text) != "the pod goes on" {
		t.Errorf("the pod reads %q, %v", text, err)
	}
	if now := c.mounts("n1"); now != mounts {
		t.Errorf("%d mounts are there, and were %d before", now, mounts)
	}
	pod.Close()
	c.unpublish(kubelet, "n1", want[0])
	c.delete(want...)
	c.has()
}

// A node without a controller goes on serving the kubelet, and finds the controller when it is back. The node
// may stop and come back as well.
func TestControllerIsKilled(t *testing.T) {
	needsRoot(t)
	c := newCluster(t, "n1", "n2")
	c.startNode("n1")
	n2 := c.startNode("n2")
	kubelet := c.register("n1")
	var want []string
	for _, node := range []string{"n1", "n2"} {
		eventually(t, func() error {
			handle, err := c.create("data", node)
			if node == "n2" {
				handle, err = c.create("data-n2", node)
			}
			if err == nil {
				want = append(want, handle)
			}
			return err
		})
	}
	c.controller.kill()
	c.publish(kubelet, "n1", want[0])
	c.unpublish(kubelet, "n1", want[0])
	c.startController(c.address)
	c.has(want...)
	n2.stop()
	c.has(want[0])
	c.startNode("n2")
	c.has(want...)
	c.delete(want...)
	c.has()
}

func TestNodeIsToldWhatItCannotDial(t *testing.T) {
	path, _ := writeConfig(t, inLoop("directory: "+t.TempDir()))
	for says, addresses := range map[string][]string{
		"host:port":    {"loam-controller"},
		`":9443"`:      {":9443"},
		"c:http":       {"c:http"},
		"given twice":  {"c:1", "d:1", "c:1"},
		"c:1000000000": {"c:1000000000"},
	} {
		args := []string{"node", "--node", "n1", "--config", path, "--kubelet-dir", ""}
		for _, address := range addresses {
			args = append(args, "--controller", address)
		}
		if _, err := loamSays(t, args...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v", addresses, err)
		}
	}
}
