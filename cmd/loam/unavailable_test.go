package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/driver/volume"
)

// served is a loam that serves, and its clients.
type served struct {
	*process
	control csi.ControllerClient
	node    csi.NodeClient
	address string // of /metrics and /readyz
}

// startServe starts loam serve, and waits until it answers.
func startServe(t *testing.T, config, state string) *served {
	t.Helper()
	socket := filepath.Join(shortDir(t), "s")
	p := startLoam(t, "serve", "--config", config, "--state-dir", state, "--endpoint", "unix://"+socket, "--http", "localhost:0")
	connection := connect(t, socket)
	return &served{p, csi.NewControllerClient(connection), csi.NewNodeClient(connection), p.says(`serving metrics.*address="([^"]*)"`)}
}

func (s *served) get(path string) (code int, body string) {
	s.Helper()
	resp, err := http.Get("http://" + s.address + path)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (s *served) ready() (code int, says string) { s.Helper(); return s.get("/readyz") }

// isReady waits until all pools are open.
func (s *served) isReady() {
	s.Helper()
	eventually(s.T, func() error {
		if code, says := s.ready(); code != http.StatusOK || says != "ok\n" {
			return fmt.Errorf("/readyz: %d %s", code, says)
		}
		return nil
	})
}

// healthy fails the test unless the metrics say so of a pool.
func (s *served) healthy(pool string, healthy int) {
	s.Helper()
	if _, all := s.get("/metrics"); !strings.Contains(all, fmt.Sprintf("loam_pool_healthy{pool=%q} %d\n", pool, healthy)) {
		s.Errorf("loam_pool_healthy of %s is not %d", pool, healthy)
	}
}

// create makes a volume in a pool, in the default one where it is empty.
func (s *served) create(name, pool string) error {
	parameters := map[string]string{}
	if pool != "" {
		parameters[volume.KeyPool] = pool
	}
	_, err := s.control.CreateVolume(s.Context(), &csi.CreateVolumeRequest{Name: name, Parameters: parameters,
		CapacityRange: &csi.CapacityRange{RequiredBytes: 64 << 20}, VolumeCapabilities: []*csi.VolumeCapability{mountWith("ext4")}})
	return err
}

// unavailable fails the test unless an error is UNAVAILABLE and names the pool.
func unavailable(t *testing.T, what string, err error, says ...string) {
	t.Helper()
	if status.Code(err) != codes.Unavailable {
		t.Errorf("%s: %v", what, err)
	}
	for _, one := range says {
		if err != nil && !strings.Contains(err.Error(), one) {
			t.Errorf("%s: %v; want %s", what, err, one)
		}
	}
}

// callsOf makes all calls that are about a pool.
func (s *served) callsOf(pool string) map[string]error {
	id := "n1/" + pool + "/v"
	calls := map[string]error{"CreateVolume": s.create("new", pool)}
	note := func(what string, err error) { calls[what] = err }
	_, err := s.control.GetCapacity(s.Context(), &csi.GetCapacityRequest{Parameters: map[string]string{volume.KeyPool: pool}})
	note("GetCapacity", err)
	_, err = s.control.ListVolumes(s.Context(), &csi.ListVolumesRequest{})
	note("ListVolumes", err)
	_, err = s.control.ListSnapshots(s.Context(), &csi.ListSnapshotsRequest{})
	note("ListSnapshots", err)
	_, err = s.control.ListSnapshots(s.Context(), &csi.ListSnapshotsRequest{SnapshotId: id})
	note("ListSnapshots of a snapshot", err)
	_, err = s.control.ListSnapshots(s.Context(), &csi.ListSnapshotsRequest{SourceVolumeId: id})
	note("ListSnapshots of a volume", err)
	_, err = s.control.ControllerGetVolume(s.Context(), &csi.ControllerGetVolumeRequest{VolumeId: id})
	note("ControllerGetVolume", err)
	_, err = s.control.DeleteVolume(s.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
	note("DeleteVolume", err)
	_, err = s.control.DeleteSnapshot(s.Context(), &csi.DeleteSnapshotRequest{SnapshotId: id})
	note("DeleteSnapshot", err)
	_, err = s.control.CreateSnapshot(s.Context(), &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: id})
	note("CreateSnapshot", err)
	_, err = s.control.ControllerExpandVolume(s.Context(), &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: &csi.CapacityRange{RequiredBytes: 1 << 30}})
	note("ControllerExpandVolume", err)
	_, err = s.node.NodeStageVolume(s.Context(), &csi.NodeStageVolumeRequest{VolumeId: id, StagingTargetPath: filepath.Join(s.TempDir(), "staging"), VolumeCapability: mountWith("ext4")})
	note("NodeStageVolume", err)
	return calls
}

// disk is a file system of its own, mounted where a pool is to be.
type disk struct {
	*testing.T
	image, at string
}

func newDisk(t *testing.T, fsType string) *disk {
	t.Helper()
	needsRoot(t)
	d := &disk{t, filepath.Join(t.TempDir(), "image"), filepath.Join(t.TempDir(), "disk")}
	d.run("truncate", "--size=512M", d.image)
	d.run("mkfs."+fsType, "-q", d.image)
	d.run("mkdir", d.at)
	t.Cleanup(func() { _ = exec.Command("umount", d.at).Run() })
	return d
}

func (d *disk) mount()   { d.Helper(); d.run("mount", "-o", "loop", d.image, d.at) }
func (d *disk) unmount() { d.Helper(); d.run("umount", d.at) }

func (d *disk) run(name string, args ...string) {
	d.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

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
