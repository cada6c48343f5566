package node

import (
	"context"
	"errors"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/capability"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// staging is what NodeStageVolume asks for.
type staging struct {
	path       string
	access     volume.Access
	attachment attachment
}

// readOnly reports whether nothing may be written through this staging.
func (r staging) readOnly() bool { return r.access.ReadOnly() || r.attachment.readOnly }

// NodeStageVolume attaches the volume and, unless it is used as a block device, mounts it at the
// staging path, made into a file system first where it is fresh.
func (s *Server) NodeStageVolume(ctx context.Context, req *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	r, err := parseStaging(req)
	if err != nil {
		return nil, s.aboutVolume(ctx, req.GetVolumeId(), err)
	}
	p, v, err := s.pools.Find(ctx, req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if err := v.Usable(); err != nil {
		return nil, err
	}
	w, err := s.look(v)
	if err != nil {
		return nil, err
	}
	if r.access.Block {
		err = s.stageBlock(ctx, p, v, w, r)
	} else {
		err = s.stageMount(ctx, p, v, w, r)
	}
	if err != nil {
		return nil, err
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

func parseStaging(req *csi.NodeStageVolumeRequest) (r staging, err error) {
	if req.GetVolumeId() == "" {
		return r, volume.Errorf(volume.Invalid, "volume_id is missing")
	}
	if r.access, err = capability.Parse(req.GetVolumeCapability()); err != nil {
		return r, err
	}
	if r.attachment, err = parseAttachment(req.GetPublishContext()); err != nil {
		return r, err
	}
	r.path, err = checkPath("staging_target_path", req.GetStagingTargetPath())
	return r, err
}

// stageBlock attaches the volume. Nothing is mounted: NodePublishVolume binds the device itself.
func (s *Server) stageBlock(ctx context.Context, p pool.Pool, v volume.Volume, w view, r staging) (err error) {
	if _, _, err := w.here(r.path); err != nil {
		return err
	}
	if i := slices.IndexFunc(w.uses, func(u use) bool { return !u.block }); i >= 0 {
		return mountedAs(v, w.uses[i], r.path)
	}
	if len(w.uses) == 0 && v.Attached() { // before anything is to be taken back
		if err := s.unused(v); err != nil {
			return err
		}
	}
	var undo undo
	defer func() { err = undo.unless(ctx, err) }()
	if len(w.uses) == 0 { // else it is published already, and stays as it is
		if v, err = s.attach(ctx, p, v, r.readOnly(), r.attachment, &undo); err != nil {
			return err
		}
		if v, err = s.reattach(ctx, p, v, r.readOnly(), nil, &undo); err != nil {
			return err
		}
		if err := s.unused(v); err != nil {
			return err
		}
	}
	if err := s.note(r.path, v.ID.String(), v); err != nil && !volume.Is(err, volume.NotFound) { // some orchestrators make no directory
		return err
	}
	return handOut(ctx, p, v)
}

// handOut marks a volume before its user gets the device itself. From then on it may hold what only that user
// knows, and unless the device is read-only, what that user has made.
func handOut(ctx context.Context, p pool.Pool, v volume.Volume) error {
	mark := volume.Block
	if v.ReadOnly && v.Mark != volume.Block {
		mark = volume.Used
	}
	return p.Mark(ctx, v.ID, mark)
}

// stageMount mounts the volume at the staging path.
func (s *Server) stageMount(ctx context.Context, p pool.Pool, v volume.Volume, w view, r staging) (err error) {
	m := mounting{target: r.path, fsType: r.access.FSType, options: r.access.MountOptions, readOnly: r.readOnly()}
	if w, err = s.mend(ctx, p, v, w, m); err != nil {
		return errors.Join(err, s.detachUnused(ctx, p, v, r.attachment))
	}
	staged, err := s.stagedAt(v, w, r)
	if err != nil {
		return err
	}
	others := w.elsewhere(r.path)
	if !staged {
		if err := canMount(v, r.access, r.readOnly()); err != nil {
			return err
		}
		if err := checkEmpty(r.path, false); err != nil {
			return volume.Errorf(volume.KindOf(err), "staging path: %w", err)
		}
		if v.ReadOnly && !r.readOnly() {
			return volume.Errorf(volume.InUse, "volume %q is attached read-only and cannot be staged for writing: unpublish it from the node first", v.ID)
		}
		if v.Attached() { // before anything is to be taken back
			if _, err := s.free(v); err != nil {
				return err
			}
		}
	}
	var undo undo
	if len(others) == 0 { // else it is in use since long, and a failure now must not take it away
		defer func() { err = undo.unless(ctx, err) }()
	}
	if v, err = s.attach(ctx, p, v, r.attachment.readOnly, r.attachment, &undo); err != nil {
		return err
	}
	if err := s.note(r.path, v.ID.String(), v); err != nil {
		return err
	}
	undo.add("unmounting "+r.path, func(ctx context.Context) error { return s.machine.Unmount(ctx, r.path) })
	if staged {
		// A call that was cut off may have mounted it and not grown it.
		return s.grow(ctx, p, v, r, w.fsType(r.path))
	}
	t, made, err := s.mount(ctx, p, v, m)
	if err != nil || made {
		return err
	}
	return s.grow(ctx, p, v, r, t)
}

// stagedAt reports whether the volume is mounted at the staging path already as r asks. The kind of
// its error is Exists where it is mounted there otherwise, and InUse where it is used elsewhere or
// something else is mounted there.
func (s *Server) stagedAt(v volume.Volume, w view, r staging) (bool, error) {
	u, mounted, err := w.here(r.path)
	switch {
	case err != nil:
		return false, err
	case !mounted && len(w.uses) > 0 && w.uses[0].block:
		return false, volume.Errorf(volume.InUse, "volume %q is in use as a block device at %q and cannot be mounted", v.ID, w.uses[0].Target)
	case !mounted && len(w.uses) > 0:
		return false, volume.Errorf(volume.InUse, "volume %q is mounted at %q already: unstage it there first", v.ID, w.uses[0].Target)
	case !mounted:
		return false, nil
	case u.block:
		return false, volume.Errorf(volume.Exists, "volume %q is at %q as a block device, not as a file system", v.ID, r.path)
	case u.ReadOnly != r.readOnly():
		return false, volume.Errorf(volume.Exists, "volume %q is staged at %q %s, not %s", v.ID, r.path, mode(u.ReadOnly), mode(r.readOnly()))
	case r.access.FSType != "" && string(r.access.FSType) != u.FSType:
		return false, volume.Errorf(volume.Exists, "volume %q is staged at %q as %s, not as %s", v.ID, r.path, u.FSType, r.access.FSType)
	}
	return true, nil
}
