package volume

import (
	"slices"
	"time"
)

// SnapshotSpec asks for a snapshot of one volume, or for a group: snapshots of several volumes of one
// pool, all taken at one instant.
type SnapshotSpec struct {
	ID      ID   // of the snapshot, or of the group
	Group   bool // ID names a group; its members are named by MemberName
	Volumes []ID // what to take; exactly one without Group

	// MaxFreeze is how long the file systems of the volumes may be frozen for it; 0 for what the pool takes by itself.
	MaxFreeze time.Duration
}

// Members returns the ID of each snapshot that the spec asks for, in the order of Volumes.
func (s SnapshotSpec) Members() []ID {
	if !s.Group {
		return []ID{s.ID}
	}
	ids := make([]ID, len(s.Volumes))
	for i, v := range s.Volumes {
		ids[i] = ID{Node: s.ID.Node, Pool: s.ID.Pool, Name: MemberName(s.ID.Name, v.Name)}
	}
	return ids
}

// InOrder sorts snapshots into the order in which the spec names their volumes.
func (s SnapshotSpec) InOrder(snapshots []Snapshot) []Snapshot {
	slices.SortStableFunc(snapshots, func(a, b Snapshot) int {
		return slices.Index(s.Volumes, a.Volume) - slices.Index(s.Volumes, b.Volume)
	})
	return snapshots
}

// Check says whether the spec can be met at all. The kind of its error is Invalid, or InUse
// (FAILED_PRECONDITION in CSI) where the volumes are not all in the pool of the group.
func (s SnapshotSpec) Check() error {
	if len(s.Volumes) == 0 {
		return Errorf(Invalid, "snapshot %s: no volume to take a snapshot of is named", quoted(s.ID))
	}
	if !s.Group && len(s.Volumes) != 1 {
		return Errorf(Invalid, "snapshot %s: exactly one volume can be its source, %d are named", quoted(s.ID), len(s.Volumes))
	}
	for i, v := range s.Volumes {
		if v.Node != s.ID.Node || v.Pool != s.ID.Pool {
			return Errorf(InUse, "group %s: volume %s is in another pool; a group is taken in one pool", quoted(s.ID), quoted(v))
		}
		if slices.Contains(s.Volumes[:i], v) {
			return Errorf(Invalid, "group %s: volume %s is named twice", quoted(s.ID), quoted(v))
		}
	}
	return nil
}

// Snapshot is a snapshot that exists: a volume as it was at one instant. It outlives its volume.
type Snapshot struct {
	ID      ID
	Volume  ID   // what it was taken of
	Size    Size // bytes that a volume restored from it has at least
	Created time.Time
	Group   string // name of the group it belongs to, empty if none
	FSType  FSType // of the volume, as the volume recorded it
	Mark    Mark   // that a volume restored from it is born with: Block where the volume had it, else Used

	BlockBytes Size // logical block size of the volume in bytes, which a copy has too; 0: not recorded

	Damage string // as that of a volume; Volume may then be the zero ID
}

// Intact says whether all that its pool keeps of the snapshot is there, as Volume.Intact does.
func (s Snapshot) Intact() error {
	if s.Damage == "" {
		return nil
	}
	return Errorf(InUse, "snapshot %s is damaged, and nothing is done with it: %s", quoted(s.ID), s.Damage)
}

// GroupID returns the ID of the group that the snapshot belongs to, and whether there is one.
func (s Snapshot) GroupID() (ID, bool) {
	return ID{Node: s.ID.Node, Pool: s.ID.Pool, Name: s.Group}, s.Group != ""
}

// FitsSpec says whether the snapshots that exist under spec's name are those that it asks for. The
// kind of its error is Exists, and the message names the first difference; InUse where one is damaged.
func FitsSpec(existing []Snapshot, spec SnapshotSpec) error {
	what := "snapshot"
	if spec.Group {
		what = "group snapshot"
	}
	for _, s := range existing {
		if err := s.Intact(); err != nil {
			return err
		}
		if (s.Group != "") != spec.Group {
			return Errorf(Exists, "%s %s: the name belongs to a member of group %q", what, quoted(spec.ID), s.Group)
		}
		if !slices.Contains(spec.Volumes, s.Volume) {
			return Errorf(Exists, "%s %s exists already, taken of volume %s, which is not asked for", what, quoted(spec.ID), quoted(s.Volume))
		}
	}
	for _, id := range spec.Volumes {
		if !slices.ContainsFunc(existing, func(s Snapshot) bool { return s.Volume == id }) {
			return Errorf(Exists, "%s %s exists already, and has no snapshot of volume %s", what, quoted(spec.ID), quoted(id))
		}
	}
	return nil
}
