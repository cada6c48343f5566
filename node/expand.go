package node

import (
	"context"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/capability"
	"github.com/loam-storage/loam/driver/volume"
)

// expansion is what NodeExpandVolume asks for.
type expansion struct {
	path  string // not checked: whatever is wrong with it, the volume is not there
	size  volume.Range
	given bool // the request carries a capability
	block bool // which says this
}

// NodeExpandVolume makes the device, and the file system mounted from it, as large as the volume,
// which ControllerExpandVolume has made larger. The volume stays in use meanwhile.
func (s *Server) NodeExpandVolume(ctx context.Context, req *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	r, err := parseExpansion(req)
	if err != nil {
		return nil, s.aboutVolume(ctx, req.GetVolumeId(), err)
	}
	size, err := s.expand(ctx, req.GetVolumeId(), r)
	if err != nil {
		return nil, err
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: int64(size)}, nil
}

func parseExpansion(req *csi.NodeExpandVolumeRequest) (expansion, error) {
	r := expansion{path: req.GetVolumePath(), size: volume.Range{
		RequiredBytes: volume.Size(req.GetCapacityRange().GetRequiredBytes()),
		LimitBytes:    volume.Size(req.GetCapacityRange().GetLimitBytes()),
	}}
	if req.GetVolumeId() == "" {
		return r, volume.Errorf(volume.Invalid, "volume_id is missing")
	}
	if r.path == "" {
		return r, volume.Errorf(volume.Invalid, "volume_path is missing")
	}
	if req.GetVolumeCapability() != nil {
		access, err := capability.Parse(req.GetVolumeCapability())
		if err != nil {
			return r, err
		}
		r.given, r.block = true, access.Block
	}
	return r, r.size.Check()
}

// expand returns the size that the volume has.
func (s *Server) expand(ctx context.Context, handle string, r expansion) (volume.Size, error) {
	p, v, err := s.find(ctx, handle)
	if err != nil {
		return 0, err
	}
	if err := v.Usable(); err != nil {
		return 0, err
	}
	w, err := s.look(v)
	if err != nil {
		return 0, err
	}
	u, err := s.usedAt(v, w, r.path)
	switch {
	case err != nil:
		return 0, err
	case r.given && r.block != u.block:
		return 0, volume.Errorf(volume.Invalid, "volume %q is at %q as a %s, not as a %s", v.ID, r.path, form(u.block), form(r.block))
	case !r.size.Holds(v.Size):
		return 0, volume.Errorf(volume.OutOfRange, "volume %q has %d bytes, which is not between %d and %d: ControllerExpandVolume changes that",
			v.ID, v.Size, r.size.RequiredBytes, r.size.LimitBytes)
	case u.block:
		return v.Size, s.fillDevice(ctx, p, v)
	}
	i := slices.IndexFunc(w.uses, func(u use) bool { return !u.block && !u.ReadOnly })
	if i < 0 {
		return 0, volume.Errorf(volume.InUse, "volume %q is mounted read-only: its file system can grow only while it is mounted for writing", v.ID)
	}
	return v.Size, s.fill(ctx, p, v, w.uses[i].Target, volume.FSType(u.FSType))
}
