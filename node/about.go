package node

import (
	"context"

	"github.com/loam-storage/loam/driver/volume"
)

// aboutVolume adds to what is wrong with a request which volume it is for, and which PersistentVolume that
// is: so an option that a PersistentVolume has had for long, and that is refused now, can be found. What the
// request says of the volume need not be so.
func (s *Server) aboutVolume(ctx context.Context, handle string, err error) error {
	if handle == "" {
		return err
	}
	_, v, failed := s.find(ctx, handle)
	if failed != nil {
		return volume.Errorf(volume.KindOf(err), "volume %.128q: %w", handle, err)
	}
	return v.About(err)
}
