package crash_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/loam-storage/loam/driver/volume"
)

// operation is one call and what comes of it.
type operation struct {
	kind string // what it is counted as
	like string // operations that are alike take about as long
	text string // for people

	call   func(context.Context, clients) error // its error is the call's, or says what is wrong with the answer
	want   codes.Code                           // how the call ends; OK where it is left out
	change func(*model)                         // what it changes

	prepare, tidy func() error // what the orchestrator does before and after it
	missing       []string     // keys of the state that may be missing until it has ended
	freezes       []string     // paths of file systems that are frozen meanwhile
	examine       string       // handle of the volume to look at closely afterwards
	fills         bool         // its file system then fills it
}

func named(kind, like, format string, args ...any) operation {
	return operation{kind: kind, like: kind + " " + like, text: kind + " " + fmt.Sprintf(format, args...), change: func(*model) {}}
}

// wrong says that an answer is not what it should be.
func wrong(what string, got, want any) error {
	return fmt.Errorf("the answer has %s %v, and should have %v", what, got, want)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// capabilityFor is how a volume of that form is used.
func capabilityFor(form string, readOnly bool) *csi.VolumeCapability {
	mode := csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER
	if readOnly {
		mode = csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY
	}
	c := &csi.VolumeCapability{AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode}}
	if form == block {
		c.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
	} else {
		c.AccessType = &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: form}}
	}
	return c
}

func atLeast(size volume.Size) *csi.CapacityRange {
	return &csi.CapacityRange{RequiredBytes: int64(size)}
}

// create makes a volume, as a copy where source is not nil.
func (m *model) create(name, pool, form string, size volume.Size, source *csi.VolumeContentSource, holds data) operation {
	v := vol{handle: handleOf(pool, name), pool: pool, name: name, form: form, size: size, source: source, data: holds}
	o := named("CreateVolume", pool, "%s, %s of %s", v.handle, form, describeVolume(int64(size), source))
	switch {
	case source.GetSnapshot() != nil:
		o.like = fmt.Sprintf("restore %s %s", pool, form)
	case source.GetVolume() != nil:
		o.like = fmt.Sprintf("clone %s %s", pool, form)
		o.freezes = m.frozenWith(source.GetVolume().GetVolumeId())
	}
	request := &csi.CreateVolumeRequest{
		Name: name, CapacityRange: atLeast(size), VolumeCapabilities: []*csi.VolumeCapability{capabilityFor(form, false)},
		Parameters: map[string]string{volume.KeyPool: pool}, VolumeContentSource: source,
	}
	o.call = func(ctx context.Context, c clients) error {
		answer, err := c.CreateVolume(ctx, request)
		if err != nil {
			return err
		}
		if got := answer.GetVolume(); got.GetVolumeId() != v.handle || describeVolume(got.GetCapacityBytes(), got.GetContentSource()) != describeVolume(int64(size), source) {
			return wrong("volume", got, v.handle)
		}
		return nil
	}
	o.change = func(m *model) { m.volumes[v.handle] = v }
	return o
}

// frozenWith returns where the file system of a volume is mounted, if it is for writing.
func (m *model) frozenWith(handles ...string) []string {
	var paths []string
	for _, handle := range handles {
		v := m.volumes[handle]
		if path, writable, ok := v.at(); ok && writable && !v.isBlock() {
			paths = append(paths, path)
		}
	}
	return paths
}

func (m *model) delete(v vol) operation {
	o := named("DeleteVolume", v.pool, "%s", v.handle)
	o.call = func(ctx context.Context, c clients) error {
		_, err := c.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: v.handle})
		return err
	}
	o.change = func(m *model) { delete(m.volumes, v.handle) }
	return o
}

func (m *model) attach(v vol, readOnly bool) operation {
	o := named("ControllerPublishVolume", "", "%s %s", v.handle, mode(readOnly))
	publishContext := map[string]string{volume.ContextReadOnly: fmt.Sprint(readOnly)}
	o.call = func(ctx context.Context, c clients) error {
		answer, err := c.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{
			VolumeId: v.handle, NodeId: nodeName, VolumeCapability: capabilityFor(v.form, false), Readonly: readOnly,
		})
		if err == nil && answer.GetPublishContext()[volume.ContextReadOnly] != fmt.Sprint(readOnly) {
			return wrong("publish context", answer.GetPublishContext(), publishContext)
		}
		return err
	}
	o.change = func(m *model) {
		m.change(v.handle, func(v *vol) { v.attached, v.deviceReadOnly, v.context = true, readOnly, publishContext })
	}
	return o
}

func (m *model) detach(v vol) operation {
	o := named("ControllerUnpublishVolume", "", "%s", v.handle)
	o.call = func(ctx context.Context, c clients) error {
		_, err := c.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: v.handle, NodeId: nodeName})
		return err
	}
	o.change = func(m *model) { m.change(v.handle, detached) }
	return o
}

func detached(v *vol) { v.attached, v.deviceReadOnly, v.context = false, false, nil }

func (m *model) expand(v vol, size volume.Size) operation {
	o := named("ControllerExpandVolume", v.pool, "%s from %s to %s", v.handle, v.size, size)
	o.call = func(ctx context.Context, c clients) error {
		answer, err := c.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{
			VolumeId: v.handle, CapacityRange: atLeast(size), VolumeCapability: capabilityFor(v.form, false),
		})
		if err == nil && (answer.GetCapacityBytes() != int64(size) || answer.GetNodeExpansionRequired() == v.isBlock()) {
			return wrong("expansion", answer, size)
		}
		return err
	}
	o.change = func(m *model) { m.change(v.handle, func(v *vol) { v.size = size }) }
	return o
}
