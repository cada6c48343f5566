package node

import (
	"context"
	"errors"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// NodeUnstageVolume unmounts the volume from the staging path and detaches its device.
//
// The request does not say whether ControllerPublishVolume attached the device, and nothing remembers
// it, so the device always goes, once nothing uses it. That is right both ways: NodeStageVolume
// attaches what is not there, read-only if the publish context says so, and ControllerUnpublishVolume
// of a volume that is not attached is fine. Keeping it would leave a device behind in every cluster
// that does not attach.
func (s *Server) NodeUnstageVolume(ctx context.Context, req *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, volume.Errorf(volume.Invalid, "volume_id is missing")
	}
	path, err := checkPath("staging_target_path", req.GetStagingTargetPath())
	if err != nil {
		return nil, err
	}
	if _, err := volume.ParseID(req.GetVolumeId()); err != nil {
		return nil, err
	}
	l, err := s.leave(ctx, req.GetVolumeId(), path)
	if err != nil {
		return nil, err
	}
	if err := s.unstage(ctx, l, path); err != nil {
		return nil, err
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

func (s *Server) unstage(ctx context.Context, l leaving, path string) error {
	w, err := s.look(l.volume)
	if err != nil {
		return err
	}
	_, mounted, err := w.here(path)
	// Where another device of its bytes is mounted, which is nothing that could be unpublished, Detach says so.
	others := slices.DeleteFunc(w.elsewhere(path), func(u use) bool { return u.other })
	switch {
	case err != nil:
		// Not "fine, it is not staged": the orchestrator removes the directory then.
		if stale, failed := s.unmountStale(ctx, w, l.volume.ID.String(), path, false); failed != nil || !stale {
			return errors.Join(failed, l.foreign(w, path, err))
		}
	case len(others) > 0 && (mounted || others[0].block):
		return volume.Errorf(volume.InUse, "volume %q is still published at %q: unpublish it there first", l.volume.ID, others[0].Target)
	case len(others) > 0:
		return nil // it is staged at another path, and not here
	}
	if err := s.unmount(ctx, w, path); err != nil {
		return err
	}
	return s.detach(ctx, l)
}

// unmount takes the volume away from a path, as often as it is there.
func (s *Server) unmount(ctx context.Context, w view, path string) error {
	for range w.count(path) {
		if err := s.machine.Unmount(ctx, path); err != nil {
			return err
		}
	}
	return nil
}
