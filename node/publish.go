package node

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/capability"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// publication is what NodePublishVolume asks for.
type publication struct {
	staging  string // empty for an inline ephemeral volume
	target   string
	access   volume.Access
	readOnly bool

	stagedReadOnly bool // as the volume is staged, whatever this target is to be
}

// NodePublishVolume makes a staged volume appear at the target path, which it makes: the file system
// as a bind mount of the staging path, a block volume as its device on an empty file. An inline
// ephemeral volume is made first.
func (s *Server) NodePublishVolume(ctx context.Context, req *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	r, err := parsePublication(req)
	if err != nil {
		return nil, s.aboutVolume(ctx, req.GetVolumeId(), err)
	}
	if volume.IsEphemeral(req.GetVolumeContext()) {
		err = s.publishEphemeral(ctx, req.GetVolumeId(), req.GetVolumeContext(), r)
	} else {
		err = s.publish(ctx, req.GetVolumeId(), r)
	}
	if err != nil {
		return nil, err
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func parsePublication(req *csi.NodePublishVolumeRequest) (r publication, err error) {
	if req.GetVolumeId() == "" {
		return r, volume.Errorf(volume.Invalid, "volume_id is missing")
	}
	if r.target, err = checkPath("target_path", req.GetTargetPath()); err != nil {
		return r, err
	}
	if r.access, err = capability.Parse(req.GetVolumeCapability()); err != nil {
		return r, err
	}
	attachment, err := parseAttachment(req.GetPublishContext())
	if err != nil {
		return r, err
	}
	r.stagedReadOnly = r.access.ReadOnly() || attachment.readOnly
	r.readOnly = req.GetReadonly() || r.stagedReadOnly
	if req.GetStagingTargetPath() == "" {
		return r, nil
	}
	if r.staging, err = checkPath("staging_target_path", req.GetStagingTargetPath()); err != nil {
		return r, err
	}
	if r.target == r.staging || strings.HasPrefix(r.target, r.staging+"/") {
		return r, volume.Errorf(volume.Invalid, "target_path %q is inside the staging path %q, which is the volume itself", r.target, r.staging)
	}
	return r, nil
}

func (s *Server) publish(ctx context.Context, handle string, r publication) error {
	p, v, err := s.pools.Find(ctx, handle)
	if err != nil {
		return err
	}
	if r.staging == "" {
		return volume.Errorf(volume.InUse, "staging_target_path is missing: volume %q is staged before it is published", v.ID)
	}
	if err := v.Usable(); err != nil {
		return err
	}
	w, err := s.look(v)
	if err != nil {
		return err
	}
	if !r.access.Block {
		w, err = s.mend(ctx, p, v, w, mounting{target: r.staging, options: r.access.MountOptions, readOnly: r.stagedReadOnly})
		if err != nil {
			return err
		}
	}
	if done, err := publishedAt(v, w, r); err != nil || done {
		return errors.Join(err, markPublished(ctx, p, v, done && r.access.Block))
	}
	if others := w.elsewhere(r.staging, r.target); len(others) > 0 && r.access.Mode.OneTarget() {
		return volume.Errorf(volume.InUse, "volume %q is published at %q, and access mode %s allows one path only", v.ID, others[0].Target, r.access.Mode)
	}
	if r.access.Block {
		return s.publishBlock(ctx, p, v, w, r)
	}
	return s.publishMount(ctx, v, w, r)
}

// publishedAt reports whether the volume is at the target already as r asks. The kind of its error is
// Exists where it is there otherwise, and InUse where something else is mounted there.
//
// A mount that is writable where read-only is asked is never what a cut-off call of this request left,
// for Machine.Bind makes a read-only mount in one step.
func publishedAt(v volume.Volume, w view, r publication) (bool, error) {
	u, mounted, err := w.here(r.target)
	if err != nil || !mounted {
		return false, err
	}
	readOnly := u.ReadOnly
	if u.block {
		readOnly = v.ReadOnly
	}
	switch {
	case u.block != r.access.Block:
		return false, volume.Errorf(volume.Exists, "volume %q is published at %q as a %s already", v.ID, r.target, form(u.block))
	case readOnly != r.readOnly:
		return false, volume.Errorf(volume.Exists, "volume %q is published at %q %s, not %s", v.ID, r.target, mode(readOnly), mode(r.readOnly))
	case r.access.FSType != "" && string(r.access.FSType) != u.FSType:
		return false, volume.Errorf(volume.Exists, "volume %q is published at %q as %s, not as %s", v.ID, r.target, u.FSType, r.access.FSType)
	}
	return true, nil
}

// publishMount binds the staging path to the target.
func (s *Server) publishMount(ctx context.Context, v volume.Volume, w view, r publication) (err error) {
	u, staged, err := w.here(r.staging)
	switch {
	case err != nil:
		return err
	case !staged:
		return notStaged(v, r.staging)
	case u.block:
		return volume.Errorf(volume.InUse, "volume %q is at %q as a block device and cannot be mounted", v.ID, r.staging)
	case r.access.FSType != "" && string(r.access.FSType) != u.FSType:
		return volume.Errorf(volume.InUse, "volume %q is staged as %s and cannot be published as %s", v.ID, u.FSType, r.access.FSType)
	case u.ReadOnly && !r.readOnly:
		return volume.Errorf(volume.InUse, "volume %q is staged read-only and cannot be published for writing", v.ID)
	}
	var undo undo
	defer func() { err = undo.unless(ctx, err) }()
	if err := target(r.target, false, &undo); err != nil {
		return err
	}
	if err := s.note(r.target, v.ID.String(), v); err != nil {
		return err
	}
	undo.add("unmounting "+r.target, func(ctx context.Context) error { return s.machine.Unmount(ctx, r.target) })
	return s.machine.Bind(ctx, r.staging, r.target, r.readOnly)
}

// publishBlock binds the device to the target, made read-only or writable first if it is not as asked.
func (s *Server) publishBlock(ctx context.Context, p pool.Pool, v volume.Volume, w view, r publication) (err error) {
	if i := slices.IndexFunc(w.uses, func(u use) bool { return !u.block }); i >= 0 {
		return mountedAs(v, w.uses[i], r.target)
	}
	// Nothing is mounted at the staging path of a block volume; what NodeStageVolume does is attach it
	// and mark it. Where the device is missing but the target is there, a call that was changing the
	// device from read-only to writable or back was cut off. After NodeUnstageVolume the target may be
	// left as well, but the orchestrator has removed the staging path.
	cutOff := !v.Attached() && checkEmpty(r.target, true) == nil && isDirectory(r.staging)
	if !v.Mark.HoldsData() || (!v.Attached() && !cutOff) {
		return notStaged(v, r.staging)
	}
	var undo undo
	defer func() { err = undo.unless(ctx, err) }()
	if err := target(r.target, true, &undo); err != nil {
		return err
	}
	if cutOff {
		undo.add("detaching the device", func(ctx context.Context) error { return p.Detach(ctx, v.ID) })
		v.Device, err = p.Attach(ctx, v.ID, r.readOnly)
		v.ReadOnly = r.readOnly
	} else {
		v, err = s.reattach(ctx, p, v, r.readOnly, w.uses, &undo)
	}
	if err == nil {
		err = markPublished(ctx, p, v, true)
	}
	if err != nil {
		return err
	}
	undo.add("unmounting "+r.target, func(ctx context.Context) error { return s.machine.Unmount(ctx, r.target) })
	for _, path := range []string{r.staging, r.target} { // the device may be another one than when it was staged
		if err := s.note(path, v.ID.String(), v); err != nil && (path == r.target || !volume.Is(err, volume.NotFound)) {
			return err
		}
	}
	if err := s.machine.Bind(ctx, v.Device, r.target, false); err != nil {
		return err
	}
	return s.confirm(ctx, p, v, r.target)
}

// markPublished marks a volume whose device is at a target, or about to be, where staging it did not: it was staged
// read-only, or by a release that knew no such mark.
func markPublished(ctx context.Context, p pool.Pool, v volume.Volume, block bool) error {
	if !block || v.ReadOnly || v.Mark == volume.Block {
		return nil
	}
	return p.Mark(ctx, v.ID, volume.Block)
}

// target makes the target, and undo removes it if this call made it.
func target(path string, block bool, undo *undo) error {
	made, err := makeTarget(path, block)
	if err == nil && made {
		undo.add("removing "+path, func(context.Context) error { return removeTarget(path) })
	}
	return err
}

func notStaged(v volume.Volume, path string) error {
	return volume.Errorf(volume.InUse, "volume %q is not staged at %q: stage it first", v.ID, path)
}

// mountedAs says that a volume which is mounted cannot be used as a block device. Its kind is Exists
// if that is at the path of the request, else InUse.
func mountedAs(v volume.Volume, u use, path string) error {
	kind := volume.InUse
	if u.Target == path {
		kind = volume.Exists
	}
	return volume.Errorf(kind, "volume %q is mounted as %s at %q and cannot be used as a block device", v.ID, u.FSType, u.Target)
}

func form(block bool) string {
	if block {
		return "block device"
	}
	return "file system"
}
