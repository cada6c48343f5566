package node

import (
	"context"
	"slices"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// mounting is a file system to be mounted.
type mounting struct {
	target   string
	fsType   volume.FSType // empty: what is there, or what the volume was created for
	options  []string      // checked by volume.CheckMountOptions, as far as the file system was known
	readOnly bool
}

// mount mounts the attached volume v on an existing directory, made into a file system first where its
// mark asks for that. It returns the type of the file system, and whether it was made now: then it
// fills its device. One that is mounted in another mount namespace is only mounted, and not checked: the two share it.
func (s *Server) mount(ctx context.Context, p pool.Pool, v volume.Volume, m mounting) (t volume.FSType, made bool, err error) {
	if !v.ReadOnly {
		if err := s.fillDevice(ctx, p, v); err != nil {
			return "", false, err
		}
	}
	// A mkfs may still be at work whose loam was killed. Busy, then, and the retry finds what it made.
	elsewhere, err := s.free(v)
	if err == nil && elsewhere.FSType != "" && !v.Mark.HoldsData() {
		err = volume.Errorf(volume.InUse, "volume %q is marked %s, and has a file system that is %s: end what uses it there", v.ID, v.Mark, elsewhere)
	}
	if err != nil {
		return "", false, err
	}
	if t, made, err = s.fileSystem(ctx, p, v, m.fsType); err != nil {
		return t, made, err
	}
	if err := checkOptions(v, m.options, t); err != nil {
		return t, made, err
	}
	if !made && !m.readOnly && elsewhere.FSType == "" {
		if err := s.machine.Check(ctx, v.Device, t); err != nil {
			return t, made, err
		}
	}
	s.sayOlder(ctx, v, t, m.target)
	if err := s.machine.Mount(ctx, v.Device, m.target, t, mountOptions(v, t, m)); err != nil {
		return t, made, err
	}
	return t, made, s.confirm(ctx, p, v, m.target)
}

// sayOlder says in the log where a volume is going to show an older state than it holds. Nothing fails for that: of what cannot be
// mounted at all, Mount says why.
func (s *Server) sayOlder(ctx context.Context, v volume.Volume, t volume.FSType, target string) {
	if !v.ReadOnly {
		return
	}
	dirty, err := s.machine.Dirty(v.Device, t)
	log := klog.FromContext(ctx).WithValues("volume", v.ID, "file system", t, "path", target)
	switch {
	case err != nil:
		log.Error(err, "a volume that is attached read-only may show an older state than it holds: its journal cannot be looked into")
	case dirty:
		log.Info("a volume shows an older state than it holds: it is attached read-only, so what is left in the journal of its file system is not replayed. Stage it once for writing")
	}
}

// noReplay is the option with which a file system is mounted without what is left in its journal.
var noReplay = map[volume.FSType]string{
	volume.Ext4:  "noload",
	volume.XFS:   "norecovery",
	volume.Btrfs: "rescue=nologreplay",
}

// mountOptions adds to the options that were asked what the file system needs here, and nothing else.
//
// Two xfs may have one UUID: a copy has that of its source, so has one that dd made, and mkfs takes one (-m
// uuid=). xfs mounts no UUID twice unless told not to look. It looks for nothing else than two paths to one
// disk that are mounted as if they were two, and loam sees to that itself: it mounts the device that it has
// attached, once.
//
// Of a read-only mount the kernel replays the journal, if the last use was cut off. On a device that
// can be written that is left to it: it changes no file, and without it files that had been synced
// would be missing. A device that is attached read-only cannot be written, and the mount would fail;
// there the journal is left alone, and the log says so. What is in it shows once the volume has been attached for writing.
// Snapshots are taken of frozen file systems, so that in copies of them nothing is in the journal.
func mountOptions(v volume.Volume, t volume.FSType, m mounting) []string {
	options := slices.Clone(m.options)
	add := func(option string) {
		if !slices.Contains(options, option) {
			options = append(options, option)
		}
	}
	if t == volume.XFS {
		add("nouuid")
	}
	if v.ReadOnly {
		add(noReplay[t])
	}
	if m.readOnly || v.ReadOnly {
		// Once, and in place of a "rw" of the caller's.
		options = append(slices.DeleteFunc(options, func(o string) bool { return o == "ro" || o == "rw" }), "ro")
	}
	return options
}

// grow makes a volume that is staged for writing fill its size, device and file system.
func (s *Server) grow(ctx context.Context, p pool.Pool, v volume.Volume, r staging, t volume.FSType) error {
	if r.readOnly() || v.ReadOnly {
		return nil
	}
	return s.fill(ctx, p, v, r.path, t)
}
