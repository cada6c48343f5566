package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// A pod can always go. What is mounted is in the mount table, and the kernel says what its devices are made of; that is enough to
// take them away. The pool is asked first, for it knows more: which other devices have the volume's bytes, and that a logical volume
// was renamed. Where it does not answer, because it is dead, hangs or is not in the configuration, or what it has of the
// volume is lost or damaged, the devices of the volume are those that the kernel calls so.

// defaultPatience is how long a pool is asked about a volume that leaves. It reads a record, or the metadata of a group.
const defaultPatience = 20 * time.Second

// leaving is a volume that is to be taken away.
type leaving struct {
	volume  volume.Volume
	pool    pool.Pool          // nil where it has not answered
	silent  error              // why it has not; nil where it has
	devices []host.BlockDevice // of the volume, by what the kernel calls them, where the pool has not answered
}

// leave finds the volume that a handle names, inline ones included, as far as it is to be found.
func (s *Server) leave(ctx context.Context, handle string) (l leaving, err error) {
	answered, silent := within(ctx, s.patience, "the pool", func(ctx context.Context) (l leaving, err error) {
		l.pool, l.volume, err = s.find(ctx, handle)
		return l, err
	})
	if silent == nil {
		return answered, nil
	}
	id, err := volume.ParseID(handle)
	if err != nil && volume.CheckRequestName(handle) == nil { // an inline volume is in any pool
		id = volume.ID{Node: s.pools.Node(), Name: volume.NameFor(handle)}
	}
	if volume.Is(silent, volume.InUse) { // it is there, but not as its pool made it
		if l, shown := s.listed(ctx, id); shown {
			return l, nil
		}
	}
	l = leaving{volume: volume.Volume{ID: id}, silent: silent}
	if id.Node != s.pools.Node() {
		return l, nil
	}
	if l.devices, err = s.devicesOf(ctx, id); err != nil {
		return leaving{}, err
	}
	for _, d := range l.devices {
		switch {
		case d.Path == "": // without a node nothing is bound or mounted by it
		case l.volume.Device == "":
			l.volume.Device = d.Path
		default:
			l.volume.Others = append(l.volume.Others, d.Path)
		}
	}
	if !volume.Is(silent, volume.NotFound) || len(l.devices) > 0 {
		klog.FromContext(ctx).Error(silent, "a volume is taken away by what the kernel knows of it, for its pool does not say", "volume", handle)
	}
	return l, nil
}

// listed looks for a volume in the list of its pool, which shows also what somebody has renamed.
func (s *Server) listed(ctx context.Context, id volume.ID) (leaving, bool) {
	p, err := s.pools.Of(id)
	if err != nil {
		return leaving{}, false
	}
	all, err := within(ctx, s.patience, "the pool", func(ctx context.Context) ([]volume.Volume, error) { return p.List(ctx, "", 0) })
	i := slices.IndexFunc(all, func(v volume.Volume) bool { return v.ID == id })
	if err != nil || i < 0 {
		return leaving{}, false
	}
	return leaving{volume: all[i], pool: p}, true
}

// devicesOf returns the devices that the kernel calls as one of the volume, but those that another pool has. The kind of its error is
// Unavailable where one of several may be that of another pool, which does not answer.
func (s *Server) devicesOf(ctx context.Context, id volume.ID) ([]host.BlockDevice, error) {
	all, err := s.machine.DevicesByName()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(d host.BlockDevice) bool { return !pool.IsDeviceOf(d, id) })
	if !slices.ContainsFunc(all, func(d host.BlockDevice) bool { return d.File != nil }) {
		return all, nil // the name of a logical volume says in which pool it is
	}
	var unknown error
	for _, p := range s.pools.All() {
		if p.Name() == id.Pool {
			continue
		}
		other, err := within(ctx, s.patience, "the pool", func(ctx context.Context) (volume.Volume, error) {
			return p.Get(ctx, volume.ID{Node: id.Node, Pool: p.Name(), Name: id.Name})
		})
		switch {
		case volume.Is(err, volume.NotFound):
		case err != nil:
			unknown = err
		default:
			all = slices.DeleteFunc(all, func(d host.BlockDevice) bool {
				return d.Path != "" && (d.Path == other.Device || slices.Contains(other.Others, d.Path))
			})
		}
	}
	if unknown != nil && len(all) > 1 {
		return nil, volume.Errorf(volume.Unavailable, "volume %q may have device %s or %s, and the other may be of a volume of that name in another pool: %w", id, all[0].Path, all[1].Path, unknown)
	}
	return all, nil
}

// detach takes the devices of a volume away. What the pool cannot do, because it has died meanwhile, is done without it.
func (s *Server) detach(ctx context.Context, l leaving) error {
	id := l.volume.ID
	if l.silent == nil {
		_, err := within(ctx, 3*s.patience, "the pool", func(ctx context.Context) (any, error) { return nil, l.pool.Detach(ctx, id) })
		if err == nil || volume.Is(err, volume.InUse) || volume.Is(err, volume.Busy) {
			return err
		}
		klog.FromContext(ctx).Error(err, "a volume is detached without its pool, which cannot do it", "volume", id)
		all, failed := s.machine.DevicesByName()
		if failed != nil {
			return failed
		}
		i := slices.IndexFunc(all, func(d host.BlockDevice) bool {
			return l.volume.Attached() && d.Path == l.volume.Device && (d.File != nil || d.MapperName != "")
		})
		switch {
		case i < 0: // it has gone
		case !pool.IsDeviceOf(all[i], id):
			return err
		default:
			l.devices = all[i : i+1]
		}
	}
	for _, d := range l.devices {
		if err := s.machine.DetachDevice(ctx, d, id.String()); err != nil {
			return volume.Errorf(volume.KindOf(err), "volume %q: %w", id, err)
		}
	}
	return nil
}

// foreign is the error for a path where something is mounted that is not the volume, as err says.
func (l leaving) foreign(w view, path string, err error) error {
	m, mounted := w.at(path)
	if l.silent == nil || !mounted {
		return err
	}
	return volume.Errorf(volume.KindOf(l.silent), "%w; at %q %s (%s) is mounted, and is left there", l.silent, path, m.Source, m.FSType)
}

// within calls do, and waits for it no longer than patience. Then the kind of the error is Unavailable, and do goes on: what hangs in
// the kernel cannot be ended.
func within[T any](ctx context.Context, patience time.Duration, what string, do func(context.Context) (T, error)) (T, error) {
	type end struct {
		got      T
		err      error
		panicked any
	}
	ended := make(chan end, 1)
	go func() {
		e := end{err: fmt.Errorf("%s ended without an answer", what)}
		defer func() {
			e.panicked = recover() // for who waits
			ended <- e
		}()
		e.got, e.err = do(ctx)
	}()
	select {
	case e := <-ended:
		if e.panicked != nil {
			panic(e.panicked)
		}
		return e.got, e.err
	case <-time.After(patience):
		var none T
		return none, volume.Errorf(volume.Unavailable, "%s has not answered within %s", what, patience)
	}
}
