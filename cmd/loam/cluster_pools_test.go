package main

import (
	"net/http"
	"slices"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// A node with a dead disk registers, serves its other pool, and says of the dead one what is wrong, through the controller too.
func TestNodeOfAClusterWithADeadPool(t *testing.T) {
	d := newDisk(t, "ext4")
	c := newCluster(t, "n1", "n2")
	n1 := c.startNodeWith("n1", "{name: gone, loop: {directory: "+d.at+", create: true, mount: true}}")
	n2 := c.startNodeWith("n2", "{name: gone, loop: {directory: "+t.TempDir()+", create: true}}")
	n1.says("connected to the controller")
	n2.says("connected to the controller")
	n1.says(`pool is not available.*pool="gone"`)
	c.register("n1")
	wantReady(t, n1, http.StatusOK)
	create := func(name, pool string, nodes ...string) (handle string, err error) {
		r := &csi.CreateVolumeRequest{Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: 16 << 20}, VolumeCapabilities: []*csi.VolumeCapability{mounted},
			Parameters: map[string]string{volume.KeyPool: pool}, AccessibilityRequirements: &csi.TopologyRequirement{}}
		for _, node := range nodes {
			r.AccessibilityRequirements.Requisite = append(r.AccessibilityRequirements.Requisite, &csi.Topology{Segments: map[string]string{volume.TopologyKey: node}})
		}
		made, err := c.CreateVolume(t.Context(), r)
		return made.GetVolume().GetVolumeId(), err
	}
	if handle, err := create("a", "default", "n1"); err != nil || handle != "n1/default/a" {
		t.Errorf("in the other pool: %q, %v", handle, err)
	}
	_, err := create("b", "gone", "n1")
	unavailable(t, "CreateVolume", err, `node "n1"`, `pool "gone"`, d.at)
	eventually(t, func() error { // in its first seconds the controller waits for what it has never seen
		handle, err := create("b", "gone", "n1", "n2")
		if err == nil && handle != "n2/gone/b" {
			t.Fatalf("in that pool of another node: %q", handle)
		}
		return err
	})
	_, err = c.ListVolumes(t.Context(), &csi.ListVolumesRequest{})
	unavailable(t, "ListVolumes", err, `node "n1"`, `pool "gone"`)
	_, err = c.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{})
	unavailable(t, "ListSnapshots", err, `node "n1"`, `pool "gone"`)
	if _, err := c.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: "n1/default/a"}); err != nil {
		t.Error(err)
	}

	d.mount()
	want := []string{"n1/default/a", "n1/gone/c", "n2/gone/b"}
	eventually(t, func() error { _, err := create("c", "gone", "n1"); return err })
	c.has(slices.Clone(want)...)
	n1.stop()
	d.unmount()
}
