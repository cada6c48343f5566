package node

import (
	"context"
	"strings"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// A file system that finds an error stops itself: ext4 and btrfs turn read-only, xfs shuts down, and any does when somebody tells it to. It
// stays so until it is mounted anew, which replays its log, after a check where it is an ext4. Only the staging path keeps it
// mounted from one pod to the next. So that a pod which is started again finds it whole, that mount is made anew where it is
// the only one.

// mend sees to it that the file system which is staged at m.target takes writes, if it was mounted for them, and returns what there is to be seen then. The
// kind of its error is InUse where it has stopped and is mounted at other paths.
//
// It is unmounted for a moment. The directory is noted to be the volume's, with this device, so that a call which was cut off there, or
// could not mount it again, is completed by the next one.
func (s *Server) mend(ctx context.Context, p pool.Pool, v volume.Volume, w view, m mounting) (view, error) {
	u, mounted, err := w.here(m.target)
	if err != nil {
		return w, err
	}
	if !mounted {
		return s.complete(ctx, p, v, w, m)
	}
	if u.block || u.other {
		return w, nil
	}
	why, err := s.hasStopped(ctx, u.Mount)
	if err != nil || why == "" {
		return w, err
	}
	if others := w.elsewhere(m.target); len(others) > 0 {
		return w, stopped(v, why, others)
	}
	if !v.Mark.HoldsData() { // a new one would be made over it
		return w, volume.Errorf(volume.InUse, "volume %q is marked %s, but its file system is mounted at %q: the mark is wrong, and so it is not mounted anew, although it is %s", v.ID, v.Mark, m.target, why)
	}
	klog.FromContext(ctx).Info("a file system that has stopped itself is mounted anew", "volume", v.ID, "it is", why)
	m.fsType, m.readOnly = volume.FSType(u.FSType), u.ReadOnly && u.Stopped == ""
	if err := s.note(m.target, v.ID.String(), v); err != nil { // an earlier release has not
		return w, err
	}
	if err := s.unmount(ctx, w, m.target); err != nil {
		return w, err
	}
	return s.mountAnew(ctx, p, v, m)
}

// complete mounts what mend has unmounted and not mounted again, or an administrator has unmounted.
func (s *Server) complete(ctx context.Context, p pool.Pool, v volume.Volume, w view, m mounting) (view, error) {
	if !v.Attached() || len(w.uses) > 0 || !v.Mark.HoldsData() || !isDirectory(m.target) {
		return w, nil
	}
	owner, err := s.machine.Owner(m.target)
	if err != nil || owner != v.ID.String() {
		return w, err
	}
	d, noted, err := s.machine.NotedDevice(m.target)
	if err != nil || !noted || d.Path != v.Device {
		return w, err
	}
	if err := checkEmpty(m.target, false); err != nil {
		return w, volume.Errorf(volume.KindOf(err), "volume %q is to be mounted anew at its staging path: %w", v.ID, err)
	}
	return s.mountAnew(ctx, p, v, m)
}

func (s *Server) mountAnew(ctx context.Context, p pool.Pool, v volume.Volume, m mounting) (view, error) {
	if _, _, err := s.mount(ctx, p, v, m); err != nil {
		return view{}, err
	}
	w, err := s.look(v)
	if err != nil {
		return w, err
	}
	u, mounted, err := w.here(m.target)
	if err != nil || !mounted {
		return w, err
	}
	why, err := s.hasStopped(ctx, u.Mount)
	if err == nil && why != "" {
		err = volume.Errorf(volume.InUse, "the file system of volume %q is %s, also after it was mounted anew at %q: look into the kernel's log (dmesg), and for a process in another mount namespace that still has it", v.ID, why, m.target)
	}
	return w, err
}

// hasStopped is Machine.Stopped for a file system whose disk may hang: pods that have it can go all the same, and so no call
// may hold the name of its volume for as long as that lasts.
func (s *Server) hasStopped(ctx context.Context, m host.Mount) (string, error) {
	return within(ctx, s, "the file system at "+m.Target, s.patience, func(context.Context) (string, error) { return s.machine.Stopped(m) })
}

// stopped says which pods have to end before a file system can be mounted anew.
func stopped(v volume.Volume, why string, others []use) error {
	targets := make([]string, len(others))
	for i, u := range others {
		targets[i] = u.Target
	}
	return volume.Errorf(volume.InUse, "the file system of volume %q is %s, and has to be mounted anew, but it is in use at %s: end these pods, and it is checked and mounted anew for the next one",
		v.ID, why, strings.Join(targets, ", "))
}

// detachUnused detaches a volume that mend has unmounted and not mounted again, for an orchestrator that forgets a volume whose
// staging has failed.
func (s *Server) detachUnused(ctx context.Context, p pool.Pool, v volume.Volume, a attachment) error {
	w, err := s.look(v)
	if err != nil || !v.Attached() || a.given || len(w.uses) > 0 {
		return err
	}
	return p.Detach(ctx, v.ID)
}
