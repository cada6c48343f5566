package node

import (
	"cmp"
	"context"
	"slices"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// This file is the only place that makes a file system. A volume's mark says whether that is allowed,
// and the device has to agree with the mark:
//
//	fresh       nobody but loam has had the device. It must be blank; then the mark becomes
//	            "formatting" on the disk, mkfs runs, and the mark becomes "used" on the disk.
//	formatting  a mkfs was cut off. Nothing was mounted or handed out since, so what is on the device
//	            is what is left of that mkfs: the pool confirms the mark, the device is zeroed, and mkfs runs again.
//	used        there may be data. What is on the device is used or refused, never written over.
//	block       the same, but a user has had the device itself, and may have made what is on it so that whoever
//	            reads it as root fails, or does what that user wants. It is not even looked at, unless the volume
//	            was created with allowBlockAsFilesystem.

// fileSystem returns the type of the file system on the attached volume v, and makes one first where
// the mark asks for it; made reports that. asked is what the request names, empty for any.
func (s *Server) fileSystem(ctx context.Context, p pool.Pool, v volume.Volume, asked volume.FSType) (found volume.FSType, made bool, err error) {
	want := cmp.Or(asked, v.FSType)
	if v.Mark.HoldsData() {
		found, err = s.existing(ctx, v, want)
		return found, false, err
	}
	want = cmp.Or(want, volume.DefaultFSType)
	return want, true, s.make(ctx, p, v, want)
}

// canMount says, before anything is touched, whether v has a file system or may be given the one that is
// asked for, and whether that is mounted with such options. The kind of its error is InUse, or Invalid for
// the options.
func canMount(v volume.Volume, a volume.Access, readOnly bool) error {
	if err := canMake(v, a.FSType, readOnly); err != nil {
		return err
	}
	t := cmp.Or(a.FSType, v.FSType)
	if !v.Mark.HoldsData() {
		t = cmp.Or(t, volume.DefaultFSType)
	}
	return checkOptions(v, a.MountOptions, t)
}

// checkOptions says whether v, which has the file system t or where t is empty one that is not known yet, is
// mounted with such options. The kind of its error is Invalid.
func checkOptions(v volume.Volume, options []string, t volume.FSType) error {
	return v.About(volume.CheckMountOptions(options, t))
}

// canMake says whether v has a file system or may be given the one that is asked for. The kind of its error
// is InUse.
func canMake(v volume.Volume, asked volume.FSType, readOnly bool) error {
	if asked != "" && v.FSType != "" && asked != v.FSType {
		return volume.Errorf(volume.InUse, "volume %q was created for %s and cannot be used as %s", v.ID, v.FSType, asked)
	}
	if err := v.Mountable(); err != nil {
		return err
	}
	if v.Mark.HoldsData() {
		return nil
	}
	if readOnly {
		return volume.Errorf(volume.InUse, "volume %q has no file system yet, and read-only access must not make one: stage it for writing first", v.ID)
	}
	want := cmp.Or(asked, v.FSType, volume.DefaultFSType)
	if err := v.Parameters.CheckMkfs(want); err != nil {
		return volume.Errorf(volume.InUse, "volume %q cannot be made %s: %w", v.ID, want, err)
	}
	if v.Size < want.Least() {
		return volume.Errorf(volume.InUse, "volume %q has %s, and %s needs at least %s", v.ID, v.Size, want, want.Least())
	}
	return nil
}

// existing returns what file system is on a volume that may hold data. The kind of its error is InUse
// where there is none, or not the one wanted.
func (s *Server) existing(ctx context.Context, v volume.Volume, want volume.FSType) (volume.FSType, error) {
	found, err := s.machine.Probe(ctx, v.Device)
	switch {
	case err != nil:
		return "", err
	case found.Blank:
		return "", volume.Errorf(volume.InUse, "volume %q holds no file system, but it has been used before, so none is made over what may be there: format it as a block volume if it is to be mounted", v.ID)
	case found.Type == "":
		return "", volume.Errorf(volume.InUse, "volume %q holds data that is no file system: use it as a block volume", v.ID)
	case !slices.Contains(volume.FSTypes(), volume.FSType(found.Type)):
		return "", volume.Errorf(volume.InUse, "volume %q holds %s, which is not a file system that loam mounts: use it as a block volume", v.ID, found.Type)
	case want != "" && found.Type != string(want):
		return "", volume.Errorf(volume.InUse, "volume %q holds %s and cannot be used as %s", v.ID, found.Type, want)
	}
	return volume.FSType(found.Type), nil
}

// make makes a file system on a volume whose mark allows it.
func (s *Server) make(ctx context.Context, p pool.Pool, v volume.Volume, t volume.FSType) error {
	if err := s.clear(ctx, p, v, t); err != nil {
		return err
	}
	if err := p.Mark(ctx, v.ID, volume.Formatting); err != nil {
		return err
	}
	if err := s.machine.Format(ctx, v.Device, host.Format{Type: t, Args: v.Parameters.MkfsArgs(), Unwiped: v.Unwiped}); err != nil {
		return err
	}
	return p.Mark(ctx, v.ID, volume.Used)
}

// clear sees to it that the device is blank. It claims the device first, so that a mkfs which outlived
// the process that started it is not still writing.
func (s *Server) clear(ctx context.Context, p pool.Pool, v volume.Volume, t volume.FSType) error {
	release, err := s.machine.Claim(v.Device)
	if err != nil {
		return err
	}
	found, err := s.machine.Probe(ctx, v.Device)
	release() // nobody starts another mkfs now, and Zero has to claim the device for itself
	if err != nil {
		return err
	}
	if v.Mark == volume.Formatting {
		if found.Type != "" && found.Type != string(t) {
			return volume.Errorf(volume.InUse, "volume %q was being formatted as %s, but holds %s: it is left alone", v.ID, t, found.Type)
		}
		// What v says was read some time ago, and perhaps from where not everything is known.
		if err := p.Mark(ctx, v.ID, volume.Formatting); err != nil {
			return err
		}
		// Also where the probe says blank: it has seen both ends, and mkfs may have been in the middle.
		if err := s.machine.Zero(ctx, v.Device); err != nil {
			return err
		}
		if found, err = s.machine.Probe(ctx, v.Device); err != nil {
			return err
		}
	}
	if !found.Blank {
		return volume.Errorf(volume.InUse, "volume %q is marked %s, but its device %s is not blank (%s): no file system is made over it",
			v.ID, v.Mark, v.Device, cmp.Or(found.Type, "unknown data"))
	}
	return nil
}
