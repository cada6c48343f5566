package controller

import (
	"cmp"
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/capability"
	"github.com/loam-storage/loam/driver/volume"
)

// ValidateVolumeCapabilities says whether a volume can be used in all the ways named. That it cannot
// is an answer and no error.
func (s *Server) ValidateVolumeCapabilities(ctx context.Context, req *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if err := required("volume_id", req.GetVolumeId()); err != nil {
		return nil, err
	}
	if err := checkComplete(req.GetVolumeCapabilities()); err != nil {
		return nil, err
	}
	_, v, err := s.pools.Find(ctx, req.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if err := serves(v, req); err != nil {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: err.Error()}, nil
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeContext:      req.GetVolumeContext(),
		VolumeCapabilities: req.GetVolumeCapabilities(),
		Parameters:         req.GetParameters(),
		MutableParameters:  req.GetMutableParameters(),
	}}, nil
}

// checkComplete tells capabilities that say nothing, which is an error of the caller, from those that
// cannot be served. The kind of its error is Invalid.
func checkComplete(capabilities []*csi.VolumeCapability) error {
	if len(capabilities) == 0 {
		return volume.Errorf(volume.Invalid, "volume_capabilities are missing")
	}
	for _, c := range capabilities {
		if c.GetAccessType() == nil || c.GetAccessMode().GetMode() == csi.VolumeCapability_AccessMode_UNKNOWN {
			_, err := capability.Parse(c) // says what is missing
			return err
		}
	}
	return nil
}

// serves says why v cannot be what the request describes.
func serves(v volume.Volume, req *csi.ValidateVolumeCapabilitiesRequest) error {
	if err := v.Intact(); err != nil {
		return err
	}
	accesses, err := capability.ParseAll(req.GetVolumeCapabilities())
	if err != nil {
		return err
	}
	if _, err := fsTypeOf(accesses); err != nil {
		return err
	}
	for _, access := range accesses {
		if err := suits(v, access); err != nil {
			return err
		}
		if err := mountable(v, access); err != nil {
			return err
		}
	}
	asked, _, err := parseParameters(req.GetParameters(), req.GetMutableParameters())
	if err != nil || len(req.GetParameters()) == 0 { // or not asked
		return err
	}
	if asked.Pool != "" && asked.Pool != v.ID.Pool {
		return volume.Errorf(volume.Invalid, "volume %q is not in pool %q", v.ID, asked.Pool)
	}
	asked.Pool = v.Parameters.Pool // empty in both where the first pool was meant
	if key, has, asked := v.Parameters.Differs(asked); key != "" {
		return volume.Errorf(volume.Invalid, "volume %q was created with %s %s, not %s", v.ID, key, has, asked)
	}
	return nil
}

// mountable says whether v may be mounted, if that is what access asks for. The kind of its error is InUse.
func mountable(v volume.Volume, access volume.Access) error {
	if access.Block {
		return nil
	}
	return v.Mountable()
}

// suits says whether v can be used as access asks. The kind of its error is Invalid.
func suits(v volume.Volume, access volume.Access) error {
	if err := volume.CheckMountOptions(access.MountOptions, cmp.Or(access.FSType, v.FSType)); err != nil {
		return v.About(err)
	}
	switch {
	case access.FSType == "":
		return nil
	case v.FSType != "" && v.FSType != access.FSType:
		return volume.Errorf(volume.Invalid, "volume %q was created for %s and cannot be used as %s", v.ID, v.FSType, access.FSType)
	case !v.Mark.HoldsData() && v.Size < access.FSType.Least():
		return volume.Errorf(volume.Invalid, "volume %q has %s, and %s needs at least %s", v.ID, v.Size, access.FSType, access.FSType.Least())
	}
	return nil
}
