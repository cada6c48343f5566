package node

import (
	"context"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// attachment is what the publish context says: what ControllerPublishVolume did, if it was called.
type attachment struct {
	given    bool // the orchestrator attached the volume, and will detach it
	readOnly bool
}

func parseAttachment(publishContext map[string]string) (attachment, error) {
	value, given := publishContext[volume.ContextReadOnly]
	if given && value != "true" && value != "false" {
		return attachment{}, volume.Errorf(volume.Invalid, "publish context %s is neither \"true\" nor \"false\"", volume.ContextReadOnly)
	}
	return attachment{given: given, readOnly: value == "true"}, nil
}

// attach sees to it that the device of v is there and returns v with it. A device that is there
// already stays as it is, read-only or not. What undo takes back is the device of this call, or of an
// earlier one that was cut off, and not that of ControllerPublishVolume.
func (s *Server) attach(ctx context.Context, p pool.Pool, v volume.Volume, readOnly bool, a attachment, undo *undo) (volume.Volume, error) {
	if v.Attached() {
		readOnly = v.ReadOnly // asked for all the same: attaching it may have been cut off half way
	}
	if !v.Attached() || !a.given {
		undo.add("detaching the device", func(ctx context.Context) error { return p.Detach(ctx, v.ID) })
	}
	device, err := p.Attach(ctx, v.ID, readOnly)
	if err != nil {
		return v, err
	}
	v.Device, v.ReadOnly = device, readOnly
	return v, nil
}

// reattach turns the device of a block volume from read-only to writable or back. A read-only bind
// mount of a device node does not keep anybody from writing, only the device itself can. So the mode
// belongs to the device, and it can change only while nobody uses it: InUse otherwise.
func (s *Server) reattach(ctx context.Context, p pool.Pool, v volume.Volume, readOnly bool, others []use, undo *undo) (volume.Volume, error) {
	was := v.ReadOnly
	if was == readOnly { // what an administrator did to the device is taken back, as far as that can be
		device, err := p.Attach(ctx, v.ID, readOnly)
		v.Device = device
		return v, err
	}
	if len(others) > 0 {
		return v, volume.Errorf(volume.InUse, "volume %q is published %s at %q, and a block volume cannot be %s at another path at the same time",
			v.ID, mode(was), others[0].Target, mode(readOnly))
	}
	undo.add("attaching the device as it was", func(ctx context.Context) error {
		if err := p.Detach(ctx, v.ID); err != nil {
			return err
		}
		_, err := p.Attach(ctx, v.ID, was)
		return err
	})
	if err := p.Detach(ctx, v.ID); err != nil {
		return v, err
	}
	device, err := p.Attach(ctx, v.ID, readOnly)
	if err != nil {
		return v, err
	}
	v.Device, v.ReadOnly = device, readOnly
	return v, nil
}

// free says whether nobody uses the device of v, nor its bytes through another one. The kind of its error is
// Busy, or InUse. A file system that is mounted in other mount namespaces only is no error: it can be mounted here, too, and
// nothing else can be done with it.
func (s *Server) free(v volume.Volume) (host.Elsewhere, error) {
	release, err := s.machine.Claim(v.Device)
	if volume.Is(err, volume.Busy) {
		elsewhere, failed := s.machine.Elsewhere(v.Device)
		if failed != nil || elsewhere.FSType != "" {
			return elsewhere, failed
		}
		if elsewhere.Thawed {
			release, err = s.machine.Claim(v.Device)
		}
	}
	if err != nil {
		return host.Elsewhere{}, volume.Errorf(volume.KindOf(err), "volume %q: %w", v.ID, err)
	}
	release()
	return host.Elsewhere{}, nil
}

// unused is free for who needs the device for itself.
func (s *Server) unused(v volume.Volume) error {
	elsewhere, err := s.free(v)
	if err == nil && elsewhere.FSType != "" {
		err = volume.Errorf(volume.InUse, "volume %q cannot be used as a block device: its file system is %s: end what uses it there", v.ID, elsewhere)
	}
	return err
}

// fill makes the device as large as its volume, which it may not be where growing the volume was cut
// off, and the file system mounted at mountPoint as large as the device.
func (s *Server) fill(ctx context.Context, p pool.Pool, v volume.Volume, mountPoint string, t volume.FSType) error {
	if err := s.fillDevice(ctx, p, v); err != nil {
		return err
	}
	return s.machine.Grow(ctx, v.Device, mountPoint, t)
}

func (s *Server) fillDevice(ctx context.Context, p pool.Pool, v volume.Volume) error {
	device, err := s.machine.Device(v.Device)
	if err != nil {
		return volume.Errorf(volume.Internal, "volume %q: %w", v.ID, err)
	}
	if device.SizeBytes >= v.Size {
		return nil
	}
	_, err = p.Expand(ctx, v.ID, volume.Range{RequiredBytes: v.Size})
	return err
}

func mode(readOnly bool) string {
	if readOnly {
		return "read-only"
	}
	return "for writing"
}
