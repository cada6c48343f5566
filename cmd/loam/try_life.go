package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// writtenBytes is how much `loam try` writes into the volume and compares afterwards.
const writtenBytes = 16 << 20

// life takes one volume through everything that the driver can do, as any CSI client would: over the
// socket. What it says of devices and file systems it reads from the machine and not from answers.
type life struct {
	controller csi.ControllerClient
	node       csi.NodeClient
	pools      *pool.Set
	machine    host.Machine
	out        io.Writer

	pool       string // pool to make the volume in
	nodeID     string
	fsType     volume.FSType
	size       volume.Size
	name       string // of the volume; copies and the snapshot are named after it
	dir        string // staging and target paths are made in here
	capability *csi.VolumeCapability
}

// step does one thing, says what happened on the machine and how long it took.
func (l *life) step(name string, do func() (string, error)) error {
	start := time.Now()
	happened, err := do()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	say(l.out, "  %-9s %9.1f ms  %s", name, float64(time.Since(start).Microseconds())/1000, happened)
	return nil
}

// run is the whole life but its end, which is remove's. It ends between two steps when ctx does, so
// that no call is at work any more when remove begins.
func (l *life) run(until context.Context) error {
	ctx := context.WithoutCancel(until)
	var origin, restored, cloned *csi.Volume
	var snapshot *csi.Snapshot
	var before, after string
	steps := []struct {
		name string
		do   func() (string, error)
	}{
		{"create", func() (happened string, err error) {
			origin, happened, err = l.create(ctx, l.name, nil)
			return happened, err
		}},
		{"attach", func() (string, error) { return l.attach(ctx, origin) }},
		{"format", func() (string, error) { return l.stage(ctx, origin) }},
		{"mount", func() (string, error) { return l.publish(ctx, origin) }},
		{"write", func() (happened string, err error) {
			before, err = l.write(origin)
			return fmt.Sprintf("%s written and synced, sha256 %.12s", volume.Size(writtenBytes), before), err
		}},
		{"expand", func() (string, error) { return l.expand(ctx, origin) }},
		{"snapshot", func() (happened string, err error) {
			snapshot, happened, err = l.snapshot(ctx, origin)
			return happened, err
		}},
		{"overwrite", func() (happened string, err error) {
			after, err = l.write(origin)
			return fmt.Sprintf("%s written over it, sha256 %.12s", volume.Size(writtenBytes), after), err
		}},
		{"restore", func() (happened string, err error) {
			restored, happened, err = l.create(ctx, l.name+"-restored", fromSnapshot(snapshot))
			return happened, err
		}},
		{"compare", func() (string, error) { return l.compare(ctx, restored, before) }},
		{"clone", func() (happened string, err error) {
			cloned, happened, err = l.create(ctx, l.name+"-cloned", fromVolume(origin))
			return happened, err
		}},
		{"compare", func() (string, error) { return l.compare(ctx, cloned, after) }},
	}
	for _, s := range steps {
		if err := until.Err(); err != nil {
			return fmt.Errorf("before %s: %w", s.name, err)
		}
		if err := l.step(s.name, s.do); err != nil {
			return err
		}
	}
	return nil
}

func fromSnapshot(s *csi.Snapshot) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
		Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: s.GetSnapshotId()},
	}}
}

func fromVolume(v *csi.Volume) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
		Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: v.GetVolumeId()},
	}}
}

func (l *life) create(ctx context.Context, name string, source *csi.VolumeContentSource) (*csi.Volume, string, error) {
	request := &csi.CreateVolumeRequest{
		Name: name, VolumeCapabilities: []*csi.VolumeCapability{l.capability}, VolumeContentSource: source,
		Parameters: map[string]string{volume.KeyPool: l.pool},
	}
	if source == nil {
		request.CapacityRange = &csi.CapacityRange{RequiredBytes: int64(l.size)}
	}
	answer, err := l.controller.CreateVolume(ctx, request)
	if err != nil {
		return nil, "", err
	}
	_, v, err := l.pools.Find(ctx, answer.GetVolume().GetVolumeId())
	happened := fmt.Sprintf("%s, %d bytes, empty", v.ID, v.Size)
	if v.Source != nil {
		happened = fmt.Sprintf("%s, %d bytes, a copy of %s", v.ID, v.Size, v.Source)
	}
	return answer.GetVolume(), happened, err
}

func (l *life) attach(ctx context.Context, v *csi.Volume) (string, error) {
	_, err := l.controller.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{
		VolumeId: v.GetVolumeId(), NodeId: l.nodeID, VolumeCapability: l.capability,
	})
	if err != nil {
		return "", err
	}
	_, found, err := l.pools.Find(ctx, v.GetVolumeId())
	if err != nil {
		return "", err
	}
	device, err := l.machine.Device(found.Device)
	return fmt.Sprintf("%s (%d:%d), %d bytes", found.Device, device.Number.Major, device.Number.Minor, device.SizeBytes), err
}

func (l *life) stage(ctx context.Context, v *csi.Volume) (string, error) {
	if err := os.MkdirAll(l.staging(v), 0o750); err != nil {
		return "", err
	}
	_, err := l.node.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: l.staging(v), VolumeCapability: l.capability,
	})
	if err != nil {
		return "", err
	}
	_, found, err := l.pools.Find(ctx, v.GetVolumeId())
	if err != nil {
		return "", err
	}
	signature, err := l.machine.Probe(ctx, found.Device)
	return fmt.Sprintf("%s %s on %s, mounted on %s", signature.Type, signature.UUID, found.Device, l.staging(v)), err
}

func (l *life) publish(ctx context.Context, v *csi.Volume) (string, error) {
	_, err := l.node.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{
		VolumeId: v.GetVolumeId(), StagingTargetPath: l.staging(v), TargetPath: l.target(v), VolumeCapability: l.capability,
	})
	if err != nil {
		return "", err
	}
	usage, err := l.machine.Usage(l.target(v))
	return fmt.Sprintf("%s, %s of it free", l.target(v), volume.Size(usage.AvailableBytes)), err
}

// write fills a file with new random bytes, syncs it, and returns their checksum.
func (l *life) write(v *csi.Volume) (string, error) {
	f, err := os.Create(filepath.Join(l.target(v), "data"))
	if err != nil {
		return "", err
	}
	hash, seed := sha256.New(), [32]byte{}
	copy(seed[:], time.Now().String())
	_, err = io.CopyN(io.MultiWriter(f, hash), rand.NewChaCha8(seed), writtenBytes)
	return fmt.Sprintf("%x", hash.Sum(nil)), errors.Join(err, f.Sync(), f.Close())
}

func (l *life) expand(ctx context.Context, v *csi.Volume) (string, error) {
	before, err := l.machine.Usage(l.target(v))
	if err != nil {
		return "", err
	}
	size := &csi.CapacityRange{RequiredBytes: int64(l.size) * 3 / 2}
	if _, err := l.controller.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{VolumeId: v.GetVolumeId(), CapacityRange: size}); err != nil {
		return "", err
	}
	_, err = l.node.NodeExpandVolume(ctx, &csi.NodeExpandVolumeRequest{
		VolumeId: v.GetVolumeId(), VolumePath: l.target(v), StagingTargetPath: l.staging(v), CapacityRange: size,
	})
	if err != nil {
		return "", err
	}
	after, err := l.machine.Usage(l.target(v))
	if err == nil && after.TotalBytes <= before.TotalBytes {
		err = fmt.Errorf("the file system has %d bytes and had %d", after.TotalBytes, before.TotalBytes)
	}
	return fmt.Sprintf("file system grown while mounted, from %d to %d bytes", before.TotalBytes, after.TotalBytes), err
}

func (l *life) snapshot(ctx context.Context, v *csi.Volume) (*csi.Snapshot, string, error) {
	answer, err := l.controller.CreateSnapshot(ctx, &csi.CreateSnapshotRequest{SourceVolumeId: v.GetVolumeId(), Name: l.name})
	s := answer.GetSnapshot()
	return s, fmt.Sprintf("%s, %d bytes, taken of the mounted volume", s.GetSnapshotId(), s.GetSizeBytes()), err
}

// compare mounts a copy beside its source and fails unless it holds the bytes with the checksum.
func (l *life) compare(ctx context.Context, v *csi.Volume, want string) (string, error) {
	if _, err := l.stage(ctx, v); err != nil {
		return "", err
	}
	if _, err := l.publish(ctx, v); err != nil {
		return "", err
	}
	f, err := os.Open(filepath.Join(l.target(v), "data"))
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	if got := fmt.Sprintf("%x", hash.Sum(nil)); got != want {
		return "", fmt.Errorf("%s holds bytes with sha256 %s, %s expected", l.target(v), got, want)
	}
	return fmt.Sprintf("%s holds sha256 %.12s, as it should", l.target(v), want), nil
}

func (l *life) staging(v *csi.Volume) string { return filepath.Join(l.place(v), "staging") }

func (l *life) target(v *csi.Volume) string { return filepath.Join(l.place(v), "target") }

// place is the directory for the mounts of one volume. The name of the life is in that of l.dir.
func (l *life) place(v *csi.Volume) string {
	of := strings.TrimPrefix(filepath.Base(v.GetVolumeId()), l.name)
	return filepath.Join(l.dir, "volume"+of)
}
