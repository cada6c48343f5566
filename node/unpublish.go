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
	p, v, err := s.find(ctx, handle)
	if volume.Is(err, volume.NotFound) {
		return s.nothingAt(ctx, handle, path, err)
	}
	if err != nil {
		return err
	}
	w, err := s.look(v)
	if err != nil {
		return err
	}
	u, there, err := w.here(path)
	if err != nil {
		if stale, failed := s.unmountStale(ctx, w, v.ID.String(), path); failed != nil || stale {
			return failed
		}
		return err
	}
	if there && u.block {
		// Staged by a release that knew no such mark. That it cannot be set keeps nobody's pod from ending, and
		// another pod that ends at the same time sets the same.
		if err := markPublished(ctx, p, v, true); err != nil {
			klog.FromContext(ctx).Error(err, "a volume that was used as a block device is not marked so", "volume", v.ID)
		}
	}
	if err := s.unmount(ctx, w, path); err != nil {
		return err
	}
	if !isOurs(handle) && len(w.elsewhere(path)) == 0 {
		return deleteEphemeral(ctx, p, v.ID)
	}
	return nil
}
