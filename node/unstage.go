package node

import (
	"context"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/pool"
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
	id, err := volume.ParseID(req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	p, err := s.pools.Of(id)
	if err != nil {
		return nil, err
	}
	v, err := p.Get(ctx, id)
	switch {
	case volume.Is(err, volume.NotFound):
		err = s.nothingAt(ctx, req.GetVolumeId(), path, err)
	case err == nil:
		err = s.unstage(ctx, p, v, path)
	}
	if err != nil {
		return nil, err
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

func (s *Server) unstage(ctx context.Context, p pool.Pool, v volume.Volume, path string) error {
	w, err := s.look(v)
	if err != nil {
		return err
	}
	_, mounted, err := w.here(path)
	// Where another device of its bytes is mounted, which is nothing that could be unpublished, Detach says so.
	others := slices.DeleteFunc(w.elsewhere(path), func(u use) bool { return u.other })
	switch {
	case err != nil:
		// Not "fine, it is not staged": the orchestrator removes the directory then.
		return err
	case len(others) > 0 && (mounted || others[0].block):
		return volume.Errorf(volume.InUse, "volume %q is still published at %q: unpublish it there first", v.ID, others[0].Target)
	case len(others) > 0:
		return nil // it is staged at another path, and not here
	}
	if err := s.unmount(ctx, w, path); err != nil {
		return err
	}
	return p.Detach(ctx, v.ID)
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

// nothingAt returns nil if nothing is mounted at a path: a volume that does not exist is then not
// there, which is all that was asked. A device node that is noted to be bound there for it is taken away. Otherwise
// it returns err, that the volume does not exist.
func (s *Server) nothingAt(ctx context.Context, handle, path string, err error) error {
	table, failed := s.machine.Mounts()
	if failed != nil {
		return failed
	}
	w := view{table: table}
	if m, mounted := w.at(path); mounted {
		owner, failed := s.machine.Owner(path)
		if failed != nil {
			return failed
		}
		if owner == handle && m.IsNode() {
			return s.machine.Unmount(ctx, path)
		}
		return volume.Errorf(volume.KindOf(err), "%w; at %q %s (%s) is mounted, and is left there", err, path, m.Source, m.FSType)
	}
	return nil
}
