package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

// xfs mounts no UUID twice unless it is told not to look, and a class may give all its volumes one.
func TestXFSOfOneUUIDAreMountedAtOnce(t *testing.T) {
	needsRoot(t)
	dir := t.TempDir()
	_, c := writeConfig(t, "node: n1\npools: [{name: a, loop: {directory: "+dir+"/pool, allocation: sparse, create: true}}]")
	connection, _ := serving(t, c, "unix://"+filepath.Join(shortDir(t), "s"))
	control, node := csi.NewControllerClient(connection), csi.NewNodeClient(connection)
	access := mountWith("xfs")
	stage := func(name string) string {
		t.Helper()
		made, err := control.CreateVolume(t.Context(), &csi.CreateVolumeRequest{
			Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: 320 << 20}, VolumeCapabilities: []*csi.VolumeCapability{access},
			Parameters: map[string]string{"mkfsOptions": "-m uuid=9a4f6c3e-0b1d-4c55-9f0a-5d2b8f7f1e11"},
		})
		if err != nil {
			t.Fatal(err)
		}
		id, staging := made.GetVolume().GetVolumeId(), filepath.Join(dir, name)
		if err := os.Mkdir(staging, 0o700); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := node.NodeUnstageVolume(context.Background(), &csi.NodeUnstageVolumeRequest{VolumeId: id, StagingTargetPath: staging}); err != nil {
				t.Error(err)
			}
		})
		if _, err := node.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{VolumeId: id, StagingTargetPath: staging, VolumeCapability: access}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return staging
	}
	for i, name := range []string{"one", "two", "three"} {
		staging := stage(name)
		if err := os.WriteFile(filepath.Join(staging, name), []byte(fmt.Sprint(i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"one", "two", "three"} {
		entries, err := os.ReadDir(filepath.Join(dir, name))
		text, readErr := os.ReadFile(filepath.Join(dir, name, name))
		if err != nil || readErr != nil || len(entries) != 1 || string(text) != fmt.Sprint(i) {
			t.Errorf("%s holds %v, %q: %v, %v", name, entries, text, err, readErr)
		}
	}
}
