package main

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
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
