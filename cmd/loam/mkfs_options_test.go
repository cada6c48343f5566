package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Options of mkfs that can never work on this pool once made a volume that failed each stage.
func TestOptionsOfMkfsThatCanNeverWorkAreRefusedAtCreation(t *testing.T) {
	needsRoot(t)
	dir := t.TempDir()
	_, c := writeConfig(t, "node: n1\npools: [{name: a, loop: {directory: "+dir+"/pool, allocation: sparse, create: true}}]")
	connection, _ := serving(t, c, "unix://"+filepath.Join(shortDir(t), "s"))
	control := csi.NewControllerClient(connection)
	block := &csi.VolumeCapability{
		AccessMode: mountWith("").GetAccessMode(), AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
	}
	create := func(options string, access *csi.VolumeCapability) error {
		_, err := control.CreateVolume(t.Context(), &csi.CreateVolumeRequest{
			Name: "v", CapacityRange: &csi.CapacityRange{RequiredBytes: 400 << 20}, VolumeCapabilities: []*csi.VolumeCapability{access},
			Parameters: map[string]string{"mkfsOptions": options},
		})
		return err
	}
	for _, c := range []struct {
		options string
		access  *csi.VolumeCapability
		says    string
	}{
		{"-s size=512", mountWith("xfs"), "illegal sector size 512"},
		{"-l size=300m", mountWith("xfs"), "too large"},
		{"-b 1024", mountWith("ext4"), "too small for device"},
		{"-b 1024", mountWith(""), "too small for device"},
		{"-J size=300", mountWith("ext4"), "too big"},
		{"-n 1000", mountWith("btrfs"), "nodesize"},
		{"-d agcount=4", mountWith(""), "no file system is asked for"},
	} {
		err := create(c.options, c.access)
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q for %q: %v", c.options, c.access.GetMount().GetFsType(), err)
		}
		if _, err := control.GetCapacity(t.Context(), &csi.GetCapacityRequest{Parameters: map[string]string{"mkfsOptions": c.options}}); err != nil {
			t.Errorf("GetCapacity with %q: %v", c.options, err)
		}
	}
	list, err := control.ListVolumes(t.Context(), &csi.ListVolumesRequest{})
	if err != nil || len(list.GetEntries()) > 0 {
		t.Errorf("volumes: %v, %v", list, err)
	}
	if err := create("-s size=512", block); err != nil {
		t.Errorf("a block device, on which no mkfs is run: %v", err)
	}
}
