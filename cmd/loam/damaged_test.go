package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What only root can see is not gone, and not waiting for loam serve.
func TestVerbsOfAnotherUserSayThatOnlyRootCanLook(t *testing.T) {
	needsRoot(t)
	dir, err := os.MkdirTemp("/var/tmp", "loam-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	config := filepath.Join(dir, "loam.yaml")
	text := "node: n1\npools:\n- {name: a, loop: {directory: " + dir + "/a, create: true}}\n- {name: b, lvm: {volumeGroup: loam-test-that-is-not-there}}\n"
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(config, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, config, filepath.Join(dir, "state"))
	if err := s.create("v", "a"); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"pools", "volumes", "snapshots"} {
		other := exec.Command("/proc/self/exe", verb, "--config", config, "--state-dir", filepath.Join(dir, "state"))
		other.Env = append(os.Environ(), mainVariable+"=1")
		other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		says, err := other.CombinedOutput()
		if err == nil || strings.Count(string(says), "only root can look into a pool") != 2 {
			t.Errorf("%s: %v\n%s", verb, err, says)
		}
	}
}

// A volume and a snapshot whose records are lost hide nothing, and are shown with what is known.
func TestWhatIsDamagedIsShown(t *testing.T) {
	needsRoot(t)
	dir := t.TempDir()
	path, _ := writeConfig(t, "node: n1\npools: [{name: a, loop: {directory: "+dir+"/pool, create: true}}]")
	s := startServe(t, path, t.TempDir())
	for _, name := range []string{"v", "w"} {
		if err := s.create(name, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := s.control.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: "n1/a/" + name}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Remove(dir+"/pool/volumes/v/volume.json"), os.Truncate(dir+"/pool/snapshots/v/snapshot.json", 0)); err != nil {
		t.Fatal(err)
	}
	for verb, damaged := range map[string]string{"volumes": "64MiB", "snapshots": "snapshot.json"} {
		says, err := loamSays(t, verb, "--config", path)
		if err != nil || strings.Count(says, "\n") != 3 || !strings.Contains(says, "n1/a/v") || !strings.Contains(says, "n1/a/w") || !strings.Contains(says, damaged) || strings.Count(says, dir) == 0 {
			t.Errorf("loam %s: %v\n%s", verb, err, says)
		}
	}
	if says, err := loamSays(t, "pools", "--config", path); err != nil || !strings.Contains(says, "false") || !strings.Contains(says, "2 volumes or snapshots are damaged") {
		t.Errorf("loam pools: %v\n%s", err, says)
	}
	if all, err := s.control.ListVolumes(t.Context(), &csi.ListVolumesRequest{}); err != nil || len(all.GetEntries()) != 2 {
		t.Errorf("ListVolumes: %v, %v", all, err)
	}
	s.healthy("a", 0)
	s.says(`a volume is damaged.*n1/a/v`)
	s.says(`a snapshot is damaged.*n1/a/v`)
	if err := s.create("v", ""); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "n1/a/v") {
		t.Errorf("CreateVolume of its name: %v", err)
	}
	if _, err := s.control.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "n1/a/v"}); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "volume.json") {
		t.Errorf("DeleteVolume: %v", err)
	}
	if err := s.create("x", ""); err != nil {
		t.Errorf("CreateVolume of another one: %v", err)
	}
}
