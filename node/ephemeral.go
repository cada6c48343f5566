package node

import (
	"context"
	"errors"
	"io/fs"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// An inline ephemeral volume lives and dies with one pod. The kubelet names it with a handle of its
// own making (csi-<64 hexadecimal digits>) and calls NodePublishVolume and NodeUnpublishVolume, nothing
// else. It is an ordinary volume of a pool, marked Ephemeral, with the name that its handle gives.

// isOurs reports whether a handle names a volume as loam does, and so no inline one.
func isOurs(handle string) bool {
	_, err := volume.ParseID(handle)
	return err == nil
}

// find returns the volume that a handle names, inline ones included. The kind of its error is NotFound
// where there is none.
func (s *Server) find(ctx context.Context, handle string) (pool.Pool, volume.Volume, error) {
	if isOurs(handle) {
		return s.pools.Find(ctx, handle)
	}
	return s.findEphemeral(ctx, handle)
}

// findEphemeral looks for an inline volume in all pools, for nothing but its name says where it is. A
// volume of that name that is not Ephemeral is not it. Where it is in none that can be read, the error is that of one that
// cannot.
func (s *Server) findEphemeral(ctx context.Context, handle string) (pool.Pool, volume.Volume, error) {
	_, missing := volume.ParseID(handle)
	if volume.CheckRequestName(handle) != nil {
		return nil, volume.Volume{}, missing
	}
	for _, p := range s.pools.All() {
		v, err := p.Get(ctx, s.ephemeralID(p, handle))
		switch {
		case volume.Is(err, volume.NotFound):
		case err != nil:
			missing = err // that pool may have it, and so may the next
		case v.Ephemeral:
			return p, v, nil
		}
	}
	return nil, volume.Volume{}, missing
}

func (s *Server) ephemeralID(p pool.Pool, handle string) volume.ID {
	return volume.ID{Node: s.pools.Node(), Pool: p.Name(), Name: volume.NameFor(handle)}
}

// publishEphemeral makes the volume and mounts it at the target. If it fails, the volume is gone, unless
// it was in use before: the kubelet publishes again after a reboot of the node, and then there is data.
func (s *Server) publishEphemeral(ctx context.Context, handle string, attributes map[string]string, r publication) (err error) {
	p, spec, err := s.parseEphemeral(handle, attributes, r)
	if err != nil {
		return err
	}
	q, v, err := s.findEphemeral(ctx, handle)
	used := err == nil && v.Mark.HoldsData()
	switch {
	case err == nil: // made before; the configuration may have got another first pool since
		p, spec.ID = q, v.ID
		err = v.Fits(spec)
	case volume.Is(err, volume.NotFound), volume.Is(err, volume.Unavailable): // where p itself cannot be read, Create says so
		v, err = volume.Volume{ID: spec.ID}, s.mayBeEphemeral(spec)
	}
	if err != nil {
		return err
	}
	if err := v.Usable(); err != nil {
		return err
	}
	if done, err := s.publishedEphemeral(v, r); err != nil || done {
		return err
	}
	if v, err = p.Create(ctx, spec); err != nil {
		return err
	}
	var undo undo
	defer func() { err = undo.unless(ctx, err) }()
	if !used {
		undo.add("deleting the volume", func(ctx context.Context) error { return deleteEphemeral(ctx, p, v.ID) })
	}
	if err := canMount(v, r.access, false); err != nil {
		return err
	}
	if v, err = s.attach(ctx, p, v, false, attachment{}, &undo); err != nil {
		return err
	}
	if err := target(r.target, false, &undo); err != nil {
		return err
	}
	if err := s.note(r.target, handle, v); err != nil {
		return err
	}
	undo.add("unmounting "+r.target, func(ctx context.Context) error { return s.machine.Unmount(ctx, r.target) })
	_, _, err = s.mount(ctx, p, v, mounting{target: r.target, fsType: r.access.FSType, options: r.access.MountOptions, readOnly: r.readOnly})
	return err
}

// parseEphemeral returns what volume to make and the pool to make it in. The kind of its error is
// Invalid.
func (s *Server) parseEphemeral(handle string, attributes map[string]string, r publication) (pool.Pool, volume.Spec, error) {
	if err := volume.CheckRequestName(handle); err != nil {
		return nil, volume.Spec{}, volume.Errorf(volume.Invalid, "volume_id of an inline volume: %w", err)
	}
	if isOurs(handle) {
		return nil, volume.Spec{}, volume.Errorf(volume.Invalid, "volume_id %q is that of a volume which is not inline", handle)
	}
	if r.access.Block {
		return nil, volume.Spec{}, volume.Errorf(volume.Invalid, "inline volume %q: an inline volume is a file system and no block device", handle)
	}
	parameters, claim, size, err := volume.ParseEphemeral(attributes)
	if err != nil {
		return nil, volume.Spec{}, err
	}
	p, err := s.pools.Named(parameters.Pool)
	if err != nil {
		return nil, volume.Spec{}, err
	}
	return p, volume.Spec{
		ID: s.ephemeralID(p, handle), Size: volume.Range{RequiredBytes: size}, FSType: r.access.FSType,
		Parameters: parameters, Claim: claim, Ephemeral: true,
	}, nil
}

// mayBeEphemeral says whether the configuration lets an inline volume be made; one that is there stays. The kind of its
// error is Invalid, for who wrote the pod asked for it.
func (s *Server) mayBeEphemeral(spec volume.Spec) error {
	limit := s.ephemeral[spec.ID.Pool]
	switch {
	case limit.Refused:
		return volume.Errorf(volume.Invalid, "inline volume %q: pool %q takes no inline volumes: name another pool, or use a generic ephemeral volume, which is a claim", spec.ID.Name, spec.ID.Pool)
	case limit.MaxBytes > 0 && spec.Size.RequiredBytes > limit.MaxBytes:
		return volume.Errorf(volume.Invalid, "inline volume %q: pool %q takes inline volumes of at most %s, and %s is asked for: ask for less, or use a generic ephemeral volume, which is a claim", spec.ID.Name, spec.ID.Pool, limit.MaxBytes, spec.Size.RequiredBytes)
	}
	return nil
}

// publishedEphemeral reports whether the volume, if it exists, is at the target already. The kind of its
// error is Exists where it is there otherwise, and InUse where it is elsewhere or the target cannot be
// had.
func (s *Server) publishedEphemeral(v volume.Volume, r publication) (bool, error) {
	w, err := s.look(v)
	if err != nil {
		return false, err
	}
	if done, err := publishedAt(v, w, r); err != nil || done {
		return done, err
	}
	if len(w.uses) > 0 {
		return false, volume.Errorf(volume.InUse, "inline volume %q is published at %q already", v.ID, w.uses[0].Target)
	}
	if err := checkEmpty(r.target, false); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return false, nil
}

// deleteEphemeral detaches and deletes an inline volume that is mounted nowhere. What is not Ephemeral
// is never deleted here, whatever it is called.
func deleteEphemeral(ctx context.Context, p pool.Pool, id volume.ID) error {
	v, err := p.Get(ctx, id)
	switch {
	case volume.Is(err, volume.NotFound):
		return nil
	case err != nil:
		return err
	case !v.Ephemeral:
		return volume.Errorf(volume.Internal, "volume %q is no inline volume and is not deleted", id)
	}
	if err := p.Detach(ctx, id); err != nil {
		return err
	}
	return p.Delete(ctx, id)
}
