package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// copies shows that a snapshot and a clone take the same time whatever the size: a volume of 10 GiB
// against one of 100 MiB, both filled.
func copies(b *bench) (rows []row, err error) {
	small, err := b.filled("small", 100*volume.MiB)
	if err != nil {
		return nil, err
	}
	large, err := b.filled("large", 10*volume.GiB)
	if err != nil {
		return nil, err
	}
	snapshot := func(of string) func(int) error {
		return func(i int) error { return b.snapshot(of, fmt.Sprintf("s-%d-%d", i, len(of))) }
	}
	for _, c := range []struct {
		what        string
		large, tiny func(int) error
	}{
		{"snapshot of 10 GiB / of 100 MiB", snapshot(large), snapshot(small)},
		{"clone of 10 GiB / of 100 MiB", b.clone(large, 10*volume.GiB), b.clone(small, 100*volume.MiB)},
	} {
		r, err := pairs(b, c.what, 1.5, c.large, c.tiny)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, errors.Join(b.delete(small), b.delete(large))
}

// filled makes a volume that has every byte written.
func (b *bench) filled(name string, size volume.Size) (string, error) {
	v, err := b.create(name, size, blockAccess(), nil)
	if err != nil {
		return "", err
	}
	device, err := b.attach(v.GetVolumeId())
	if err != nil {
		return "", err
	}
	return v.GetVolumeId(), errors.Join(fill(device, size), b.detach(v.GetVolumeId()))
}

func fill(path string, size volume.Size) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	block := bytes.Repeat([]byte("loam"), int(4*volume.MiB)/4)
	for at := int64(0); at < int64(size); at += int64(len(block)) {
		if _, err := f.WriteAt(block[:min(int64(len(block)), int64(size)-at)], at); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(f.Sync(), f.Close())
}

func (b *bench) attach(handle string) (string, error) {
	_, err := b.controller.ControllerPublishVolume(b, &csi.ControllerPublishVolumeRequest{VolumeId: handle, NodeId: nodeName, VolumeCapability: blockAccess()})
	if err != nil {
		return "", err
	}
	id, err := volume.ParseID(handle)
	if err != nil {
		return "", err
	}
	v, err := b.pool.Get(b, id)
	return v.Device, err
}

func (b *bench) detach(handle string) error {
	_, err := b.controller.ControllerUnpublishVolume(b, &csi.ControllerUnpublishVolumeRequest{VolumeId: handle, NodeId: nodeName})
	return err
}

// snapshot takes a snapshot and deletes it again; only the taking grows with what is copied.
func (b *bench) snapshot(of, name string) error {
	answer, err := b.controller.CreateSnapshot(b, &csi.CreateSnapshotRequest{SourceVolumeId: of, Name: name})
	if err != nil {
		return err
	}
	_, err = b.controller.DeleteSnapshot(b, &csi.DeleteSnapshotRequest{SnapshotId: answer.GetSnapshot().GetSnapshotId()})
	return err
}

func (b *bench) clone(of string, size volume.Size) func(int) error {
	source := &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: of}}}
	return func(i int) error {
		v, err := b.create(fmt.Sprintf("clone-%d-%d", i, size), size, blockAccess(), source)
		if err != nil {
			return err
		}
		return b.delete(v.GetVolumeId())
	}
}
