package lvm_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
	nodeservice "github.com/loam-storage/loam/node"
)

// pod is one that uses the volume "a", by the node service.
type pod struct {
	*testing.T
	*nodeservice.Server
	staging, target string
	access          *csi.VolumeCapability
}

// newPod makes the volume "a", and stages and publishes it.
func newPod(t *testing.T, p pool.Pool, block bool) *pod {
	t.Helper()
	set, err := pool.NewSet(node, p)
	must(t, err)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	c := &pod{T: t, staging: filepath.Join(dir, "staging"), target: filepath.Join(dir, "target"), access: &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: "ext4"}},
	}}
	if block {
		c.access.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
	}
	c.Server = nodeservice.New(nodeservice.Config{Pools: set, Machine: host.New(host.NewRunner())})
	must(t, os.Mkdir(c.staging, 0o750))
	must(t, second(p.Create(t.Context(), spec("a", 32*volume.MiB))))
	must(t, c.stage())
	must(t, c.publish())
	if !block {
		run(t, "sh", "-c", "echo kept > "+c.target+"/file && sync "+c.target+"/file")
	}
	return c
}

func (c *pod) stage() error {
	_, err := c.NodeStageVolume(c.Context(), &csi.NodeStageVolumeRequest{VolumeId: id("a").String(), StagingTargetPath: c.staging, VolumeCapability: c.access})
	return err
}

func (c *pod) publish() error {
	_, err := c.NodePublishVolume(c.Context(), &csi.NodePublishVolumeRequest{
		VolumeId: id("a").String(), StagingTargetPath: c.staging, TargetPath: c.target, VolumeCapability: c.access})
	return err
}

func (c *pod) unpublish() error {
	_, err := c.NodeUnpublishVolume(c.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: id("a").String(), TargetPath: c.target})
	return err
}

func (c *pod) unstage() error {
	_, err := c.NodeUnstageVolume(c.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: id("a").String(), StagingTargetPath: c.staging})
	return err
}

// reads fails the test where the pod's file is not as it was written.
func (c *pod) reads() {
	c.Helper()
	if got := run(c, "cat", c.target+"/file"); got != "kept" {
		c.Errorf("the file reads %q", got)
	}
}

// goes takes the volume away, and fails the test where something of it is left.
func (c *pod) goes() {
	c.Helper()
	for range 2 {
		must(c.T, c.unpublish())
	}
	for range 2 {
		must(c.T, c.unstage())
	}
	if _, err := os.Lstat(c.target); !errors.Is(err, os.ErrNotExist) {
		c.Errorf("the target is still there: %v", err)
	}
	if all := run(c, "dmsetup", "ls"); strings.Contains(all, "loam.fast.v.a") || strings.Contains(all, "renamed") {
		c.Errorf("devices are left: %s", all)
	}
}

// What becomes of a group or logical volume keeps no pod from going, and when it is undone, the volume is whole.
func TestAPodGoesWhateverBecomesOfItsGroup(t *testing.T) {
	fails := func(c *pod, table string) {
		run(c, "dmsetup", "suspend", "--noflush", "--nolockfs", "loamleg0")
		run(c, "dmsetup", "load", "loamleg0", "--table", table)
		run(c, "dmsetup", "resume", "loamleg0")
	}
	for _, thin := range []bool{false, true} {
		disks := testDisks(t, 1)
		config := lvm.Config{VolumeGroup: vg}
		for what, c := range map[string]struct{ lose, back func(c *pod) }{
			"its disk fails": {
				func(c *pod) { fails(c, "0 "+legSectors+" error") },
				func(c *pod) { fails(c, "0 "+legSectors+" linear "+disks[0]+" 2048") },
			},
			"it is renamed": {
				func(c *pod) { runLVM(c, "vgrename", vg, "other") },
				func(c *pod) { runLVM(c, "vgrename", "other", vg) },
			},
			"it is exported": {
				func(c *pod) {
					run(c, "umount", c.target)
					if c.access.GetBlock() == nil {
						run(c, "umount", c.staging)
					}
					runLVM(c, "vgchange", "--activate", "n", vg)
					runLVM(c, "vgexport", vg)
				},
				func(c *pod) { runLVM(c, "vgimport", vg) },
			},
			"the logical volume is renamed": {
				func(c *pod) { runLVM(c, "lvrename", vg, "loam.fast.v.a", "renamed") },
				func(c *pod) { runLVM(c, "lvrename", vg, "renamed", "loam.fast.v.a") },
			},
		} {
			for _, block := range []bool{false, true} {
				name := map[bool]string{false: "linear", true: "thin"}[thin] + map[bool]string{true: ", block"}[block] + ", " + what
				t.Run(name, func(t *testing.T) {
					wipedAfter(t, disks[0])
					runLVM(t, "vgcreate", "--yes", "--physicalextentsize", "1m", vg, leg(t, "loamleg0", disks[0]))
					t.Cleanup(func() { runLVM(t, "vgremove", "--force", "--yes", vg) })
					if thin {
						config.ThinPool = "tp"
						runLVM(t, "lvcreate", "--yes", "--type", "thin-pool", "--size", "120m", "--chunksize", "64k", "--poolmetadatasize", "8m", "--name", "tp", vg)
					}
					p := open(t, config, host.NewRunner())
					t.Cleanup(func() { _ = p.Close() })
					pod := newPod(t, p, block)
					c.lose(pod)
					pod.goes()
					c.back(pod)
					if thin && what == "its disk fails" {
						return // its thin pool has to be looked at first, as docs/lvm.md says
					}
					must(t, pod.stage())
					must(t, pod.publish())
					if !block {
						pod.reads()
					}
					pod.goes()
					must(t, p.Delete(t.Context(), id("a")))
				})
			}
		}
	}
}

// A file system that is frozen when its pod ends goes with it, and one that was unmounted so is found again.
func TestAPodThatEndsWhileItsFileSystemIsFrozen(t *testing.T) {
	for _, byHand := range []bool{false, true} {
		t.Run(map[bool]string{false: "ends", true: "was unmounted by hand, and ends"}[byHand], func(t *testing.T) {
			volumeGroup(t, 1)
			p := open(t, lvm.Config{VolumeGroup: vg}, host.NewRunner())
			t.Cleanup(func() { empty(t, p) })
			c := newPod(t, p, false)
			run(t, "fsfreeze", "--freeze", c.target)
			if byHand {
				run(t, "umount", c.target, c.staging)
			}
			c.goes()
			must(t, c.stage())
			must(t, c.publish())
			c.reads()
			c.goes()
			must(t, p.Delete(t.Context(), id("a")))
		})
	}
}

// Whoever has the volume in a mount namespace of its own keeps it, and is in nobody's way.
func TestALogicalVolumeThatIsMountedInAnotherNamespace(t *testing.T) {
	volumeGroup(t, 1)
	p := open(t, lvm.Config{VolumeGroup: vg}, host.NewRunner())
	t.Cleanup(func() { empty(t, p) })
	c := newPod(t, p, false)
	holds := func() (end func()) {
		t.Helper()
		other := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; read _")
		in, err := other.StdinPipe()
		must(t, err)
		out, err := other.StdoutPipe()
		must(t, err)
		must(t, other.Start())
		must(t, second(out.Read(make([]byte, 1)))) // it has its namespace
		return func() { t.Helper(); must(t, errors.Join(second(in.Write([]byte("\n"))), other.Wait())) }
	}
	device := func() string {
		t.Helper()
		v, err := p.Get(t.Context(), id("a"))
		must(t, err)
		return v.Device
	}
	end := holds()
	must(t, c.unpublish())
	must(t, c.unstage())
	if err := p.Delete(t.Context(), id("a")); !volume.Is(err, volume.InUse) || !strings.Contains(err.Error(), "(sh)") {
		t.Errorf("Delete: %v", err)
	}
	// Used again, it stays when the other ends.
	must(t, c.stage())
	must(t, c.publish())
	end()
	c.reads()
	if device() == "" {
		t.Error("it has no device")
	}
	// And when the other is the last one, it goes with that.
	end = holds()
	must(t, c.unpublish())
	must(t, c.unstage())
	if device() == "" {
		t.Error("it has no device, and the other still has it mounted")
	}
	end()
	for until := time.Now().Add(time.Minute); device() != "" && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := os.Lstat("/dev/" + vg); !os.IsNotExist(err) {
		t.Errorf("links to the device are left: %v", err)
	}
	c.goes()
	must(t, p.Delete(t.Context(), id("a")))
}
