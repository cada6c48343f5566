package main

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// A pool whose disk is not mounted is unavailable by name; the other one works, and this one does when it is there.
func TestAPoolThatCannotBeOpenedStopsNoOther(t *testing.T) {
	d := newDisk(t, "ext4")
	dir, state := t.TempDir(), t.TempDir()
	path, _ := writeConfig(t, "node: n1\npools:\n- {name: gone, loop: {directory: "+d.at+", create: true, mount: true}}\n- {name: well, loop: {directory: "+dir+"/well, create: true}}\n")
	s := startServe(t, path, state)
	if code, says := s.ready(); code != http.StatusOK || !strings.HasPrefix(says, "ok\n") || !strings.Contains(says, `pool "gone" is not available`) {
		t.Errorf("/readyz: %d %s", code, says)
	}
	s.healthy("gone", 0)
	s.healthy("well", 1)
	for what, err := range s.callsOf("gone") {
		unavailable(t, what, err, `pool "gone"`, d.at)
	}
	unavailable(t, "CreateVolume in the default pool", s.create("v", ""), `pool "gone"`)
	if err := s.create("v", "well"); err != nil {
		t.Errorf("CreateVolume in the other pool: %v", err)
	}
	if _, err := s.control.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: "n1/well/v"}); err != nil {
		t.Errorf("CreateSnapshot in the other pool: %v", err)
	}
	if all, err := s.control.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{SourceVolumeId: "n1/well/v"}); err != nil || len(all.GetEntries()) != 1 {
		t.Errorf("ListSnapshots of a volume in the other pool: %v, %v", all, err)
	}
	if _, err := s.control.DeleteSnapshot(t.Context(), &csi.DeleteSnapshotRequest{SnapshotId: "n1/well/s"}); err != nil {
		t.Errorf("DeleteSnapshot in the other pool: %v", err)
	}
	text, err := os.ReadFile(s.log)
	if n := strings.Count(string(text), "pool is not available"); err != nil || n != 1 {
		t.Errorf("the log says it %d times, %v", n, err)
	}
	d.mount()
	s.isReady()
	s.healthy("gone", 1)
	if err := s.create("v2", ""); err != nil {
		t.Errorf("CreateVolume in the default pool when it is there: %v", err)
	}
	if all, err := s.control.ListVolumes(t.Context(), &csi.ListVolumesRequest{}); err != nil || len(all.GetEntries()) != 2 {
		t.Errorf("ListVolumes: %v, %v", all, err)
	}
	s.stop()
	d.unmount()
}

// The default pool is the first one, and where another cannot be read it is still that.
func TestTheDefaultPoolNeedsNoOther(t *testing.T) {
	d := newDisk(t, "ext4")
	path, _ := writeConfig(t, "node: n1\npools:\n- {name: well, loop: {directory: "+t.TempDir()+"/well, create: true}}\n- {name: gone, loop: {directory: "+d.at+", create: true, mount: true}}\n")
	s := startServe(t, path, t.TempDir())
	if err := s.create("v", ""); err != nil {
		t.Error(err)
	}
	if err := s.create("v", ""); err != nil {
		t.Errorf("again: %v", err)
	}
}

// A node all of whose pools are gone serves: it registers, and its pods can end.
func TestAllPoolsMayBeUnavailable(t *testing.T) {
	needsRoot(t)
	path, _ := writeConfig(t, "node: n1\npools:\n- {name: a, loop: {directory: "+t.TempDir()+"/a}}\n- {name: b, lvm: {volumeGroup: loam-test-that-is-not-there}}\n")
	s := startServe(t, path, t.TempDir())
	if code, says := s.ready(); code != http.StatusServiceUnavailable || !strings.Contains(says, `pool "a"`) || !strings.Contains(says, `pool "b"`) {
		t.Errorf("/readyz: %d %s", code, says)
	}
	if code, _ := s.get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}
	if info, err := s.node.NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{}); err != nil || info.GetNodeId() != "n1" {
		t.Errorf("NodeGetInfo: %v, %v", info, err)
	}
	s.healthy("a", 0)
	s.healthy("b", 0)
	unavailable(t, "CreateVolume", s.create("v", "b"), `pool "b"`, "loam-test-that-is-not-there")
}

// A file system that fails while its pool is open makes it unavailable, and lets go of the disk.
func TestAPoolWhoseFileSystemFailsComesBack(t *testing.T) {
	d := newDisk(t, "xfs")
	d.mount()
	path, _ := writeConfig(t, "node: n1\npools:\n- {name: gone, loop: {directory: "+d.at+"/pool, create: true}}\n- {name: well, loop: {directory: "+t.TempDir()+"/well, create: true}}\n")
	s := startServe(t, path, t.TempDir())
	if err := errors.Join(s.create("v", "gone"), s.create("w", "well")); err != nil {
		t.Fatal(err)
	}
	d.run("xfs_io", "-x", "-c", "shutdown", d.at)
	for what, err := range s.callsOf("gone") {
		unavailable(t, what, err, `pool "gone"`)
	}
	s.healthy("gone", 0)
	if _, err := s.control.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: "n1/well/w"}); err != nil {
		t.Errorf("a volume in the other pool: %v", err)
	}
	eventually(t, func() error { return exec.Command("umount", d.at).Run() }) // nothing of loam is open on it
	d.mount()
	s.isReady()
	s.healthy("gone", 1)
	if _, err := s.control.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: "n1/gone/v"}); err != nil {
		t.Errorf("a volume that was in it: %v", err)
	}
	s.stop()
	d.unmount()
}

// The file system of a pool's own is mounted anew when nothing in it is in use.
func TestAPoolWhoseOwnFileSystemFailsIsMountedAnew(t *testing.T) {
	needsRoot(t)
	dir := t.TempDir()
	path, _ := writeConfig(t, "node: n1\npools:\n- {name: own, loop: {directory: "+dir+"/own, size: 512Mi, create: true}}\n- {name: well, loop: {directory: "+dir+"/well, create: true}}\n")
	s := startServe(t, path, t.TempDir())
	if err := s.create("v", "own"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.control.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: "n1/own/v", NodeId: "n1", VolumeCapability: mountWith("ext4")}); err != nil {
		t.Fatal(err)
	}
	found, err := exec.Command("losetup", "--noheadings", "--output=NAME", "--associated", dir+"/own/mounted/volumes/v/image").Output()
	if err != nil {
		t.Fatal(err)
	}
	shutDown := exec.Command("xfs_io", "-x", "-c", "shutdown", dir+"/own/mounted")
	if out, err := shutDown.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for what, err := range s.callsOf("own") {
		unavailable(t, what, err, `pool "own"`)
	}
	s.says("volumes in it") // are in use, so it stays
	says, err := loamSays(t, "volumes", "--config", path)
	if !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), "has failed") {
		t.Errorf("loam volumes: %v\n%s", err, says)
	}
	if out, err := exec.Command("losetup", "--detach", strings.TrimSpace(string(found))).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.isReady()
	if _, err := s.control.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: "n1/own/v"}); err != nil {
		t.Errorf("a volume that was in it: %v", err)
	}
}

// What cannot stand beside each other is only seen where both are there.
func TestAPoolThatComesLateIsStillCheckedAgainstTheOthers(t *testing.T) {
	needsRoot(t)
	dir, state := t.TempDir(), t.TempDir()
	text := "node: n1\npools:\n- {name: a, loop: {directory: " + dir + "/a, allocation: sparse, create: true}}\n- {name: b, loop: {directory: " + dir + "/b, create: true}}\n"
	path, c := writeConfig(t, text)
	c.State = state
	if err := serve(t.Context(), c, filepath.Join(shortDir(t), "s"), ""); !volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), "on one file system") {
		t.Errorf("both are there from the beginning: %v", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "b", "lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, path, state)
	unavailable(t, "CreateVolume", s.create("v", "b"), `pool "b"`, "another loam (process ")
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	s.says("on one file system")
	unavailable(t, "CreateVolume", s.create("v", "b"), `pool "b"`, "on one file system")
	if err := s.create("v", "a"); err != nil {
		t.Error(err)
	}
}

// A try makes one volume in one pool: where that is not there, it says so and ends.
func TestATryOfAPoolThatIsNotThereEnds(t *testing.T) {
	needsRoot(t)
	path, _ := writeConfig(t, "node: n1\npools: [{name: a, loop: {directory: "+t.TempDir()+"/a}}]")
	if says, err := loamSays(t, "try", "--config", path, "--dir", t.TempDir()); !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), `pool "a"`) {
		t.Errorf("%v\n%s", err, says)
	}
}
