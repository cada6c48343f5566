package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/moby/sys/mountinfo"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// An earlier loam let mount(8) mount a volume through a second loop device, and took it for unmounted; anybody
// with losetup can do so as well. The kernel takes the two devices for two file systems: mounted both, what is
// written to one is lost.
func TestAVolumeThatIsMountedThroughAnotherLoopDevice(t *testing.T) {
	needsRoot(t)
	dir := t.TempDir()
	_, c := writeConfig(t, "node: n1\npools: [{name: a, loop: {directory: "+dir+"/pool, allocation: sparse, create: true}}]")
	connection, _ := serving(t, c, "unix://"+filepath.Join(shortDir(t), "s"))
	control, node := csi.NewControllerClient(connection), csi.NewNodeClient(connection)
	for what, fsType := range map[string]string{"of its device": "ext4", "of its device, btrfs": "btrfs", "of its image": "xfs", "of its image, before it is attached": "ext4"} {
		t.Run(what, func(t *testing.T) {
			ofDevice, second := strings.Contains(what, "device"), ""
			name, access := strings.NewReplacer(" ", "-", ",", "").Replace(what), mountWith(fsType)
			made, err := control.CreateVolume(t.Context(), &csi.CreateVolumeRequest{
				Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: 320 << 20}, VolumeCapabilities: []*csi.VolumeCapability{access}})
			if err != nil {
				t.Fatal(err)
			}
			id, staging, other := made.GetVolume().GetVolumeId(), filepath.Join(dir, name+"-staging"), filepath.Join(dir, name+"-other")
			for _, path := range []string{staging, other} {
				if err := os.Mkdir(path, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			stage := func(path string, access *csi.VolumeCapability) error {
				_, err := node.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{VolumeId: id, StagingTargetPath: path, VolumeCapability: access})
				return err
			}
			unstage := func(path string) error {
				_, err := node.NodeUnstageVolume(t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: id, StagingTargetPath: path})
				return err
			}
			refused := func(what string, err error) {
				t.Helper()
				if status.Code(err) != codes.FailedPrecondition || (ofDevice && !strings.Contains(err.Error(), "through /dev/loop")) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if err := stage(staging, access); err != nil {
				t.Fatal(err)
			}
			image := filepath.Join(dir, "pool/volumes", name, "image")
			if err := unstage(staging); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(what, "before") {
				if _, err := control.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: "n1", VolumeCapability: access}); err != nil {
					t.Fatal(err)
				}
			}
			device := said(t, "losetup", "--noheadings", "--output", "NAME", "--associated", image) // none where it is not attached
			if ofDevice {
				said(t, "mount", "-o", "loop", device, staging)
			} else {
				second = said(t, "losetup", "--find", "--show", image)
				defer func() { _ = exec.Command("losetup", "--detach", second).Run() }()
				said(t, "mount", second, staging)
			}
			defer func() { _ = exec.Command("umount", staging).Run() }() // of a test that failed
			if second := mountedAt(t, staging).Source; ofDevice && second == device {
				t.Fatalf("mount made no second device, it is %s", second)
			}

			refused("stage elsewhere", stage(other, access))
			if ofDevice {
				refused("stage there", stage(staging, access))
				_, err = node.NodePublishVolume(t.Context(), &csi.NodePublishVolumeRequest{
					VolumeId: id, StagingTargetPath: staging, TargetPath: filepath.Join(dir, name+"-target"), VolumeCapability: access})
				refused("publish", err)
			}
			block := &csi.VolumeCapability{AccessMode: access.GetAccessMode(), AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}}
			refused("stage as a block device", stage(other, block))

			if ofDevice {
				if err := unstage(staging); err != nil {
					t.Errorf("unstage: %v", err)
				}
			} else { // the pool may have taken either device for its own
				said(t, "umount", staging)
				_ = exec.Command("losetup", "--detach", second).Run()
			}
			if err := stage(other, access); err != nil {
				t.Errorf("stage once it is unmounted: %v", err)
			}
			if err := unstage(other); err != nil {
				t.Error(err)
			}
			if _, err := control.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id}); err != nil {
				t.Error(err)
			}
		})
	}
}

func mountedAt(t *testing.T, path string) *mountinfo.Info {
	t.Helper()
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(path))
	if err != nil || len(mounts) != 1 {
		t.Fatalf("mounted at %s: %v, %v", path, mounts, err)
	}
	return mounts[0]
}

func said(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}
