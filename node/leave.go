package node

import (
	"context"
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
// volume is lost or damaged, the device is the one that was noted at the path when the volume came there.

// defaultPatience is how long a pool is asked about a volume that leaves. It reads a record, or the metadata of a group.
const defaultPatience = 20 * time.Second

// leaving is a volume that is to be taken away.
type leaving struct {
	handle string
	volume volume.Volume
	pool   pool.Pool         // nil where it has not answered
	silent error             // why it has not; nil where it has
	device *host.BlockDevice // of the volume, by what the kernel knows, where the pool has not answered; nil for none
}

// leave finds the volume that a handle names, inline ones included, and that is to be taken away from a path, as far as it is to be found.
func (s *Server) leave(ctx context.Context, handle, path string) (l leaving, err error) {
	answered, silent := within(ctx, s, poolOf(handle), s.patience, func(ctx context.Context) (l leaving, err error) {
		l.handle = handle
		l.pool, l.volume, err = s.find(ctx, handle)
		return l, err
	})
	if silent == nil && !answered.volume.Attached() {
		silent = answered.volume.Intact() // without its image its device is not to be found
	}
	if silent == nil {
		return answered, nil
	}
	id, err := volume.ParseID(handle)
	if err != nil && volume.CheckRequestName(handle) == nil { // an inline volume is in any pool
		id = volume.ID{Node: s.pools.Node(), Name: volume.NameFor(handle)}
	}
	if volume.Is(silent, volume.InUse) { // it is there, but not as its pool made it
		if l, shown := s.listed(ctx, handle, id); shown {
			return l, nil
		}
	}
	l = leaving{handle: handle, volume: volume.Volume{ID: id}, silent: silent}
	if id.Node != s.pools.Node() {
		return l, nil
	}
	d, there, err := s.deviceAt(id, handle, path)
	if err != nil {
		return leaving{}, err
	}
	if there {
		l.device, l.volume.Device = &d, d.Path
	}
	if there || !volume.Is(silent, volume.NotFound) {
		klog.FromContext(ctx).Error(silent, "a volume is taken away by what the kernel knows of it, for its pool does not say", "volume", handle, "path", path, "device", d.Path)
	}
	return l, nil
}

// listed looks for a volume that is attached in the list of its pool, which shows also what somebody has renamed.
func (s *Server) listed(ctx context.Context, handle string, id volume.ID) (leaving, bool) {
	p, err := s.pools.Of(id)
	if err != nil {
		return leaving{}, false
	}
	all, err := within(ctx, s, poolOf(handle), s.patience, func(ctx context.Context) ([]volume.Volume, error) { return p.List(ctx, "", 0) })
	i := slices.IndexFunc(all, func(v volume.Volume) bool { return v.ID == id })
	if err != nil || i < 0 || !all[i].Attached() {
		return leaving{}, false
	}
	return leaving{handle: handle, volume: all[i], pool: p}, true
}

// deviceAt returns the device of the volume that was mounted or bound at a path, or attached for it: the one that is noted there to be
// the volume's, or, where an earlier release made no note, the one that is there now, if the kernel calls it as one of the volume.
func (s *Server) deviceAt(id volume.ID, handle, path string) (host.BlockDevice, bool, error) {
	owner, err := s.machine.Owner(path)
	if err != nil || (owner != "" && owner != handle) {
		return host.BlockDevice{}, false, err
	}
	d, noted, err := s.machine.NotedDevice(path)
	if err != nil || (noted && owner == handle) {
		return d, noted, err
	}
	all, err := s.machine.DevicesByName()
	if err != nil {
		return host.BlockDevice{}, false, err
	}
	table, err := s.machine.Mounts()
	if err != nil {
		return host.BlockDevice{}, false, err
	}
	m, mounted := view{table: table}.at(path)
	if !mounted {
		return host.BlockDevice{}, false, nil
	}
	for _, d := range all {
		if d.Path == "" || !pool.IsDeviceOf(d, id) {
			continue
		}
		if _, here, err := s.shows(m, d.Path, d.Number); here || err != nil {
			return d, here, err
		}
	}
	return host.BlockDevice{}, false, nil
}

// note notes at a path which volume is going to be there, and with which device, for a call that takes it away and cannot ask the pool.
func (s *Server) note(path, handle string, v volume.Volume) error {
	if err := s.machine.SetOwner(path, handle); err != nil {
		return err
	}
	return s.machine.NoteDevice(path, v.Device)
}

// detach takes the devices of a volume away. What the pool cannot do, because it has died meanwhile, is done without it.
func (s *Server) detach(ctx context.Context, l leaving) error {
	id := l.volume.ID
	if l.silent == nil {
		_, err := within(ctx, s, poolOf(l.handle), 3*s.patience, func(ctx context.Context) (any, error) { return nil, l.pool.Detach(ctx, id) })
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
			return nil
		case !pool.IsDeviceOf(all[i], id):
			return err
		}
		l.device = &all[i]
	}
	if l.device == nil {
		return nil
	}
	if err := s.machine.DetachDevice(ctx, *l.device, id.String()); err != nil {
		return volume.Errorf(volume.KindOf(err), "volume %q: %w", id, err)
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
