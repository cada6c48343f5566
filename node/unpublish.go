package node

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// NodeUnpublishVolume takes the volume away from the target path and removes the directory or file
// that it was on. An inline ephemeral volume is deleted with it. Nothing else is ever removed: a
// directory with something in it is InUse, and a volume that is not there is fine.
func (s *Server) NodeUnpublishVolume(ctx context.Context, req *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	handle := req.GetVolumeId()
	if handle == "" {
		return nil, volume.Errorf(volume.Invalid, "volume_id is missing")
	}
	path, err := checkPath("target_path", req.GetTargetPath())
	if err != nil {
		return nil, err
	}
	if err := s.unpublish(ctx, handle, path); err != nil {
		return nil, err
	}
	if err := removeTarget(path); err != nil {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// unpublish takes the volume away from the path and leaves the directory or file there.
func (s *Server) unpublish(ctx context.Context, handle, path string) error {
	l, err := s.leave(ctx, handle, path)
	if err != nil {
		return err
	}
	w, err := s.look(l.volume)
	if err != nil {
		return err
	}
	u, there, err := w.here(path)
	if err != nil {
		if stale, failed := s.unmountStale(ctx, w, handle, path, !volume.Is(l.silent, volume.NotFound)); failed != nil || stale {
			return failed
		}
		return l.foreign(w, path, err)
	}
	if there && u.block && l.silent == nil {
		// Staged by a release that knew no such mark. That it cannot be set keeps nobody's pod from ending, and
		// another pod that ends at the same time sets the same.
		_, err := within(ctx, s, poolOf(handle), s.patience, func(ctx context.Context) (any, error) { return nil, markPublished(ctx, l.pool, l.volume, true) })
		if err != nil {
			klog.FromContext(ctx).Error(err, "a volume that was used as a block device is not marked so", "volume", l.volume.ID)
		}
	}
	if err := s.unmount(ctx, w, path); err != nil {
		return err
	}
	if !isOurs(handle) && len(w.elsewhere(path)) == 0 {
		return s.end(ctx, handle, l)
	}
	return nil
}
