package restart_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/scratch"
)

// TestIOGoesOnWhileLoamRestarts writes to a mounted volume, and reads back what it wrote, while loam is
// killed and stopped over and over. It is an xfs, which any root may grow while it is mounted: for ext4
// the kernel wants CAP_SYS_RESOURCE, which some containers take away.
func TestIOGoesOnWhileLoamRestarts(t *testing.T) {
	hosttest.NeedsRoot(t)
	if _, err := exec.LookPath("fio"); err != nil {
		t.Skip("needs fio: apt-get install fio")
	}
	dir := t.TempDir()
	s := newServer(t, dir, "{directory: "+filepath.Join(dir, "pool")+", size: 1Gi, create: true}")
	s.start()
	v := s.use(dir, "data", volume.XFS, volume.XFS.Least(), "")

	report := filepath.Join(dir, "fio.json")
	var said bytes.Buffer
	fio := exec.CommandContext(t.Context(), "fio", "--name=data", "--filename="+filepath.Join(v.target, "data"), "--size=64M", "--rw=randwrite",
		"--bs=4k", "--ioengine=libaio", "--iodepth=8", "--direct=1", "--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", "--verify_backlog=512",
		"--thread", "--time_based", "--runtime=1h", "--output-format=json", "--output="+report)
	fio.Stdout, fio.Stderr = &said, &said
	s.ok("start fio", fio.Start())
	ended := make(chan struct{})
	go func() {
		_ = fio.Wait() // its state says more
		close(ended)
	}()
	t.Cleanup(func() { <-ended })
	kills, stops := 0, 0
	for begun := time.Now(); min(kills, stops) < 3 || time.Since(begun) < 8*time.Second; {
		select {
		case <-ended:
			t.Fatalf("fio ended with %s: %s", fio.ProcessState, &said)
		default:
		}
		if kills <= stops {
			s.kill()
			kills++
		} else {
			s.stop()
			stops++
		}
		s.start()
		s.mount(v)
		_, err := s.node.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: v.id, VolumePath: v.target})
		s.ok("NodeGetVolumeStats", err)
	}
	s.ok("stop fio", fio.Process.Signal(os.Interrupt))
	<-ended
	if fio.ProcessState.ExitCode() != 128 { // interrupted; each error counts one more
		t.Fatalf("fio, interrupted, ended with %s: %s", fio.ProcessState, &said)
	}
	reads, writes := s.fioCounts(report)
	if reads == 0 || writes == 0 {
		t.Errorf("there were %d reads and %d writes", reads, writes)
	}
	t.Logf("count: restart during I/O: %d kills, %d stops, %d verified reads, %d writes, 0 errors", kills, stops, reads, writes)
	s.growAndRemove(v, filepath.Join(dir, "pool", "mounted", "volumes", "data", "image"))
	s.stop()
}

// growAndRemove expands the mounted volume, checks its image and takes it through the rest of its life.
func (s *server) growAndRemove(v used, image string) {
	s.Helper()
	size := volume.XFS.Least() + 100*volume.MiB
	grown, err := s.controller.ControllerExpandVolume(s.Context(), &csi.ControllerExpandVolumeRequest{
		VolumeId: v.id, CapacityRange: &csi.CapacityRange{RequiredBytes: int64(size)}, VolumeCapability: v.access})
	s.ok("ControllerExpandVolume", err)
	_, err = s.node.NodeExpandVolume(s.Context(), &csi.NodeExpandVolumeRequest{
		VolumeId: v.id, VolumePath: v.target, StagingTargetPath: v.staging, VolumeCapability: v.access})
	s.ok("NodeExpandVolume", err)
	const log = 64 * volume.MiB // of xfs, which is not counted as space
	if has := s.size(v.target); grown.GetCapacityBytes() != int64(size) || has < size-log-volume.MiB || has > size {
		s.Errorf("expanded to %s, loam says %d and the file system %s", size, grown.GetCapacityBytes(), has)
	}
	s.unmount(v)
	s.ok("check the file system", scratch.Run("xfs_repair", "-n", "-f", image))
	s.remove(v)
	s.empty()
}

// fioCounts returns how much fio read and wrote, and fails the test if it met an error.
func (s *server) fioCounts(report string) (reads, writes int) {
	s.Helper()
	text, err := os.ReadFile(report)
	s.ok("read what fio said", err)
	var said struct {
		Jobs []struct {
			Error int
			Read  struct {
				Total int `json:"total_ios"`
			}
			Write struct {
				Total int `json:"total_ios"`
			}
		}
	}
	s.ok("read what fio said", json.Unmarshal(text[max(0, bytes.IndexByte(text, '{')):], &said)) // notes come first
	for _, j := range said.Jobs {
		if j.Error != 0 {
			s.Errorf("fio met error %d", j.Error)
		}
		reads, writes = reads+j.Read.Total, writes+j.Write.Total
	}
	return reads, writes
}
