package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

const lifeBytes = 256 * volume.MiB

// createRounds is how often a volume is created: each takes a moment, and how long depends on what else the disk does.
const createRounds = 101

// createVolume compares CreateVolume over the socket with the system calls that a careful program
// needs for a file that survives a power cut: in time, and in what the disk has to do.
func createVolume(b *bench) ([]row, error) {
	var us, them []time.Duration
	var ours, bare diskWork
	for i := range createRounds {
		name := fmt.Sprintf("create-%d", i)
		var handle string
		took, work, err := b.measure(func() error {
			answer, err := b.create(name, lifeBytes, blockAccess(), nil)
			handle = answer.GetVolumeId()
			return err
		})
		if err != nil {
			return nil, err
		}
		us, ours = append(us, took), ours.plus(work)
		if err := b.delete(handle); err != nil {
			return nil, err
		}
		took, work, err = b.measure(func() error { return bareFile(filepath.Join(b.bare, name), int64(lifeBytes)) })
		if err != nil {
			return nil, err
		}
		them, bare = append(them, took), bare.plus(work)
		if err := b.clearBare(); err != nil {
			return nil, err
		}
	}
	took := ratio("CreateVolume, preallocated / fallocate+fsync+rename+fsync", 3.0, median(us), median(them))
	r := float64(ours.writes+ours.flushes) / float64(bare.writes+bare.flushes)
	return []row{took, {
		what: "the same, writes and flushes of the disk", bound: "<= 2.00", met: r <= 2,
		figure: fmt.Sprintf("%.2f (%s / %s)", r, ours.each(createRounds), bare.each(createRounds)),
	}}, nil
}

// diskWork is what a disk had to do (Documentation/admin-guide/iostats.rst).
type diskWork struct{ writes, flushes int }

func (w diskWork) plus(o diskWork) diskWork {
	return diskWork{w.writes + o.writes, w.flushes + o.flushes}
}

func (w diskWork) each(n int) string {
	return fmt.Sprintf("%.1f+%.1f", float64(w.writes)/float64(n), float64(w.flushes)/float64(n))
}

// measure says how long something takes, and what it has the disk do that both sides share.
func (b *bench) measure(do func() error) (took time.Duration, work diskWork, err error) {
	before, err := b.diskWork()
	if err != nil {
		return 0, work, err
	}
	start := time.Now()
	err = do()
	took = time.Since(start)
	after, statErr := b.diskWork()
	return took, diskWork{after.writes - before.writes, after.flushes - before.flushes}, errors.Join(err, statErr)
}

func (b *bench) diskWork() (w diskWork, err error) {
	path := filepath.Join("/sys/block", filepath.Base(b.device), "stat")
	text, err := os.ReadFile(path)
	if err != nil {
		return w, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 16 {
		return w, fmt.Errorf("%s does not count flushes: %q", path, text)
	}
	if w.writes, err = strconv.Atoi(fields[4]); err == nil {
		w.flushes, err = strconv.Atoi(fields[15])
	}
	return w, err
}

// bareFile preallocates a file under a temporary name, syncs it and gives it its name.
func bareFile(path string, bytes int64) error {
	temporary := path + ".new"
	f, err := os.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, bytes), f.Sync(), f.Close(), os.Rename(temporary, path))
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// lifeCycle compares a volume's whole life with the commands that an administrator would type.
func lifeCycle(b *bench) ([]row, error) {
	r, err := pairs(b, "life: create to delete with ext4 / the bare commands", 1.1, b.life, b.bareLife)
	if err != nil {
		return nil, err
	}
	r.note, err = b.lifeSteps()
	return []row{r}, err
}

// step is one call of a life.
type step struct {
	name string
	do   func() error
}

func (b *bench) steps(i int) []step {
	name := fmt.Sprintf("life-%d", i)
	handle := nodeName + "/" + poolName + "/" + name
	access := mountAccess(volume.Ext4)
	staging, target := filepath.Join(b.dir, name+"-staging"), filepath.Join(b.dir, name+"-target")
	return []step{
		{"create", func() error { _, err := b.create(name, lifeBytes, access, nil); return err }},
		{"attach", func() error {
			_, err := b.controller.ControllerPublishVolume(b, &csi.ControllerPublishVolumeRequest{VolumeId: handle, NodeId: nodeName, VolumeCapability: access})
			return err
		}},
		{"stage", func() error {
			if err := os.Mkdir(staging, 0o700); err != nil {
				return err
			}
			_, err := b.node.NodeStageVolume(b, &csi.NodeStageVolumeRequest{VolumeId: handle, StagingTargetPath: staging, VolumeCapability: access})
			return err
		}},
		{"publish", func() error {
			_, err := b.node.NodePublishVolume(b, &csi.NodePublishVolumeRequest{VolumeId: handle, StagingTargetPath: staging, TargetPath: target, VolumeCapability: access})
			return err
		}},
		{"unpublish", func() error {
			_, err := b.node.NodeUnpublishVolume(b, &csi.NodeUnpublishVolumeRequest{VolumeId: handle, TargetPath: target})
			return err
		}},
		{"unstage", func() error {
			_, err := b.node.NodeUnstageVolume(b, &csi.NodeUnstageVolumeRequest{VolumeId: handle, StagingTargetPath: staging})
			return errors.Join(err, os.Remove(staging))
		}},
		{"detach", func() error {
			_, err := b.controller.ControllerUnpublishVolume(b, &csi.ControllerUnpublishVolumeRequest{VolumeId: handle, NodeId: nodeName})
			return err
		}},
		{"delete", func() error { return b.delete(handle) }},
	}
}

func (b *bench) life(i int) error {
	for _, s := range b.steps(i) {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// bareLife is the same with the commands themselves.
func (b *bench) bareLife(i int) (err error) {
	image := filepath.Join(b.bare, fmt.Sprintf("life-%d", i))
	staging, target := filepath.Join(b.dir, "bare-staging"), filepath.Join(b.dir, "bare-target")
	run := func(name string, args ...string) string {
		var out string
		if err == nil {
			out, err = command(name, args...)
		}
		return out
	}
	run("fallocate", "--length", fmt.Sprint(int64(lifeBytes)), image)
	run("sync", image)
	device := run("losetup", "--find", "--show", "--direct-io=on", image)
	run("mkfs.ext4", "-q", "-E", "nodiscard", device)
	run("mkdir", staging, target)
	run("mount", device, staging)
	run("mount", "--bind", staging, target)
	run("umount", target)
	run("umount", staging)
	run("rmdir", staging, target)
	run("losetup", "--detach", device)
	run("rm", image)
	return err
}

func (b *bench) create(name string, bytes volume.Size, access *csi.VolumeCapability, source *csi.VolumeContentSource) (*csi.Volume, error) {
	answer, err := b.controller.CreateVolume(b, &csi.CreateVolumeRequest{
		Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: int64(bytes)},
		VolumeCapabilities: []*csi.VolumeCapability{access}, VolumeContentSource: source,
	})
	return answer.GetVolume(), err
}

func (b *bench) delete(handle string) error {
	_, err := b.controller.DeleteVolume(b, &csi.DeleteVolumeRequest{VolumeId: handle})
	return err
}

// clearBare empties the directory of the bare commands.
func (b *bench) clearBare() error {
	entries, err := os.ReadDir(b.bare)
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, os.Remove(filepath.Join(b.bare, e.Name())))
	}
	return errors.Join(errs...)
}
