package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/moby/sys/mountinfo"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/driver/volume"
)

func mountWith(fsType string, flags ...string) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: fsType, MountFlags: flags}},
	}
}

// An option that hides another one behind a comma once mounted the volume through a second loop device, so
// that it could be mounted again and what was written was lost; it made a volume read-only that was believed
// writable, or changed what other mounts see.
func TestOptionsThatWouldMountSomethingElseAreRefusedByEveryCall(t *testing.T) {
	needsRoot(t)
	dir := t.TempDir()
	_, c := writeConfig(t, "node: n1\npools: [{name: a, loop: {directory: "+dir+"/pool, allocation: sparse, create: true}}]")
	connection, _ := serving(t, c, "unix://"+filepath.Join(shortDir(t), "s"))
	control, node := csi.NewControllerClient(connection), csi.NewNodeClient(connection)
	made, err := control.CreateVolume(t.Context(), &csi.CreateVolumeRequest{
		Name: "data", CapacityRange: &csi.CapacityRange{RequiredBytes: 16 << 20}, VolumeCapabilities: []*csi.VolumeCapability{mountWith("")},
		Parameters: map[string]string{"csi.storage.k8s.io/pv/name": "pvc-17"},
	})
	if err != nil {
		t.Fatal(err)
	}
	id, staging := made.GetVolume().GetVolumeId(), filepath.Join(dir, "staging")
	if err := os.Mkdir(staging, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{"errors=continue,loop", "commit=5,ro", "commit=5,rshared", "data=ordered,loop=/dev/loop200", "errors=continue,offset=4096", "loop", "logbufs=8,loop"} {
		for what, c := range map[string]*csi.VolumeCapability{"no type": mountWith("", option), "ext4": mountWith("ext4", "noatime", option)} {
			calls := map[string]func() error{
				"CreateVolume": func() error {
					_, err := control.CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: "other", VolumeCapabilities: []*csi.VolumeCapability{c}})
					return err
				},
				"ControllerPublishVolume": func() error {
					_, err := control.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: "n1", VolumeCapability: c})
					return err
				},
				"ControllerExpandVolume": func() error {
					_, err := control.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{
						VolumeId: id, CapacityRange: &csi.CapacityRange{RequiredBytes: 16 << 20}, VolumeCapability: c})
					return err
				},
				"NodeStageVolume": func() error {
					_, err := node.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{VolumeId: id, StagingTargetPath: staging, VolumeCapability: c})
					return err
				},
				"NodePublishVolume": func() error {
					_, err := node.NodePublishVolume(t.Context(), &csi.NodePublishVolumeRequest{
						VolumeId: id, StagingTargetPath: staging, TargetPath: filepath.Join(dir, "target"), VolumeCapability: c})
					return err
				},
				"NodePublishVolume, inline": func() error {
					_, err := node.NodePublishVolume(t.Context(), &csi.NodePublishVolumeRequest{
						VolumeId: "csi-" + strings.Repeat("ab", 32), TargetPath: filepath.Join(dir, "target"), VolumeCapability: c,
						VolumeContext: map[string]string{volume.ContextEphemeral: "true", "size": "16Mi"}})
					return err
				},
				"NodeExpandVolume": func() error {
					_, err := node.NodeExpandVolume(t.Context(), &csi.NodeExpandVolumeRequest{VolumeId: id, VolumePath: staging, VolumeCapability: c})
					return err
				},
			}
			for call, do := range calls {
				err := do()
				name := option[:strings.IndexAny(option+"=", "=,")]
				if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), `mount option "`+name+`"`) {
					t.Errorf("%s with %q, %s: %v", call, option, what, err)
				}
				if strings.HasPrefix(call, "Create") || strings.HasSuffix(call, "inline") {
					continue
				}
				if err == nil || !strings.Contains(err.Error(), id) || !strings.Contains(err.Error(), `PersistentVolume "pvc-17"`) {
					t.Errorf("%s with %q does not say which PersistentVolume it is: %v", call, option, err)
				}
			}
			answer, err := control.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: []*csi.VolumeCapability{c}})
			if err != nil || answer.GetConfirmed() != nil || !strings.Contains(answer.GetMessage(), "mount option") {
				t.Errorf("ValidateVolumeCapabilities with %q: %v, %v", option, answer, err)
			}
		}
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil || len(mounts) > 0 {
		t.Errorf("mounted: %v, %v", mounts, err)
	}
	list, err := control.ListVolumes(t.Context(), &csi.ListVolumesRequest{})
	if err != nil || len(list.GetEntries()) != 1 || len(list.GetEntries()[0].GetStatus().GetPublishedNodeIds()) != 0 {
		t.Errorf("volumes: %v, %v", list, err)
	}
}
