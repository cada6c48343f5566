package controller

import "context"

// aboutVolume adds to what is wrong with a request which volume it is for, and which PersistentVolume that
// is: so an option that a PersistentVolume has had for long, and that is refused now, can be found.
func (s *Server) aboutVolume(ctx context.Context, handle string, err error) error {
	if _, v, failed := s.pools.Find(ctx, handle); failed == nil {
		return v.About(err)
	}
	return err
}
