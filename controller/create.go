package controller

import (
	"cmp"
	"context"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/capability"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// CreateVolume makes a volume, empty or as a copy of a snapshot or of another volume.
func (s *Server) CreateVolume(ctx context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	spec, accesses, err := parseCreate(req)
	if err != nil {
		return nil, err
	}
	p, err := s.place(ctx, req.GetName(), spec, req.GetAccessibilityRequirements())
	if err != nil {
		return nil, err
	}
	spec.ID = s.id(p, req.GetName())
	if err := checkSource(ctx, p, spec, accesses); err != nil {
		return nil, err
	}
	v, err := p.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &csi.CreateVolumeResponse{Volume: s.volume(v)}, nil
}

// parseCreate reads everything of the request but its place. The ID is left open.
func parseCreate(req *csi.CreateVolumeRequest) (spec volume.Spec, accesses []volume.Access, err error) {
	if err := volume.CheckRequestName(req.GetName()); err != nil {
		return spec, nil, err
	}
	if accesses, err = capability.ParseAll(req.GetVolumeCapabilities()); err != nil {
		return spec, nil, err
	}
	if spec.FSType, err = fsTypeOf(accesses); err != nil {
		return spec, nil, err
	}
	if spec.Parameters, spec.Claim, err = parseParameters(req.GetParameters(), req.GetMutableParameters()); err != nil {
		return spec, nil, err
	}
	spec.Size = parseRange(req.GetCapacityRange())
	if err := spec.Size.Check(); err != nil {
		return spec, nil, err
	}
	if spec.Source, err = parseSource(req.GetVolumeContentSource()); err != nil {
		return spec, nil, err
	}
	spec.Mkfs = mkfsFor(spec, accesses)
	return spec, accesses, checkOptions(spec, accesses)
}

// mkfsFor returns the file system that is made of a new volume: the one asked for, else the default one; empty
// for a copy, and for what is used as a block device.
func mkfsFor(spec volume.Spec, accesses []volume.Access) volume.FSType {
	mounted := slices.ContainsFunc(accesses, func(a volume.Access) bool { return !a.Block })
	if spec.Source != nil || !mounted {
		return ""
	}
	return cmp.Or(spec.FSType, volume.DefaultFSType)
}

// checkOptions says whether the options for mkfs and mount suit the file system that the volume will have:
// that of its source if it is a copy, and else the one asked for, or the default one. The kind of its error
// is Invalid.
func checkOptions(spec volume.Spec, accesses []volume.Access) error {
	t := cmp.Or(spec.Mkfs, spec.FSType)
	err := checkMountOptions(accesses, t)
	if err == nil && t != "" {
		err = spec.Parameters.CheckMkfs(t)
	}
	if err != nil && spec.FSType == "" && t != "" {
		return volume.Errorf(volume.Invalid, "%w; no file system is asked for, so the volume will have %s", err, t)
	}
	return err
}

func checkMountOptions(accesses []volume.Access, t volume.FSType) error {
	for _, a := range accesses {
		if err := volume.CheckMountOptions(a.MountOptions, t); err != nil {
			return err
		}
	}
	return nil
}

// fsTypeOf returns the one file system that all accesses agree on, empty where none names one. The
// kind of its error is Invalid.
func fsTypeOf(accesses []volume.Access) (volume.FSType, error) {
	var fsType volume.FSType
	for _, a := range accesses {
		if a.FSType != "" && fsType != "" && a.FSType != fsType {
			return "", volume.Errorf(volume.Invalid, "volume capabilities ask for %s and for %s: a volume has one file system", fsType, a.FSType)
		}
		if a.FSType != "" {
			fsType = a.FSType
		}
	}
	return fsType, nil
}

func parseRange(r *csi.CapacityRange) volume.Range {
	return volume.Range{RequiredBytes: volume.Size(r.GetRequiredBytes()), LimitBytes: volume.Size(r.GetLimitBytes())}
}

// parseSource reads what to copy. The kind of its error is Invalid, or NotFound for a handle that
// cannot exist.
func parseSource(c *csi.VolumeContentSource) (*volume.Source, error) {
	if c == nil {
		return nil, nil
	}
	var kind volume.SourceKind
	var field, handle string
	switch c.GetType().(type) {
	case *csi.VolumeContentSource_Snapshot:
		kind, field, handle = volume.FromSnapshot, "volume_content_source.snapshot.snapshot_id", c.GetSnapshot().GetSnapshotId()
	case *csi.VolumeContentSource_Volume:
		kind, field, handle = volume.FromVolume, "volume_content_source.volume.volume_id", c.GetVolume().GetVolumeId()
	default:
		return nil, volume.Errorf(volume.Invalid, "volume_content_source names neither a snapshot nor a volume")
	}
	if err := required(field, handle); err != nil {
		return nil, err
	}
	id, err := volume.ParseID(handle)
	if err != nil {
		return nil, err
	}
	return &volume.Source{Kind: kind, ID: id}, nil
}

// checkSource says whether a copy of the source can have the file system and the mount options asked for,
// the first of which it will bring along, and be mounted if it is to be. The kind of its error is Invalid. A source that
// cannot be read is for the pool to judge: where the copy was made before, it needs no source any more.
func checkSource(ctx context.Context, p pool.Pool, spec volume.Spec, accesses []volume.Access) error {
	if spec.Source == nil {
		return nil
	}
	var has volume.FSType
	var mark volume.Mark
	if spec.Source.Kind == volume.FromVolume {
		if v, err := p.Get(ctx, spec.Source.ID); err == nil {
			has, mark = v.FSType, v.Mark
		}
	} else if snapshots, ok := p.(pool.Snapshotter); ok {
		if sn, err := snapshots.GetSnapshot(ctx, spec.Source.ID); err == nil {
			has, mark = sn.FSType, sn.Mark
		}
	}
	if has != "" && spec.FSType != "" && has != spec.FSType {
		return volume.Errorf(volume.Invalid, "%s has the file system %s, and a copy of it cannot have %s", spec.Source, has, spec.FSType)
	}
	if err := checkMountOptions(accesses, has); err != nil {
		return err
	}
	return checkMark(ctx, p, spec, mark, accesses)
}

// checkMark says whether a copy that is born with a mark can be mounted, if it is to be. The kind of its error is Invalid. A copy that
// was made before its source was used as a block device is there, with its own mark.
func checkMark(ctx context.Context, p pool.Pool, spec volume.Spec, mark volume.Mark, accesses []volume.Access) error {
	err := volume.Volume{ID: spec.ID, Mark: mark, Parameters: spec.Parameters}.Mountable()
	if err == nil || !slices.ContainsFunc(accesses, func(a volume.Access) bool { return !a.Block }) {
		return nil
	}
	if _, missing := p.Get(ctx, spec.ID); !volume.Is(missing, volume.NotFound) {
		return nil
	}
	return volume.Errorf(volume.Invalid, "%s cannot be copied for a file system: %w", spec.Source, err)
}
