// Package pool defines what a pool is: a place on this machine that volumes are made in. The
// contract is in the comments of this file; package pooltest is the same contract as a test suite,
// and every pool passes it.
package pool

import (
	"context"

	"github.com/loam-storage/loam/driver/volume"
)

// Pool makes, finds and removes volumes. What is on the disk is what exists: a pool keeps nothing of
// its own that has to agree with it, and reads the disk anew on each call.
//
// A caller may rely on this of every method:
//   - Every call may be repeated, also after the process or the machine died in the middle of the
//     first one. Asked again for what is already so, a pool answers the same.
//   - A failed call leaves nothing behind that List shows or that holds space.
//   - Calls may come at the same time, but never two that change the same volume or snapshot, and
//     none that changes what another one copies from: the callers see to that (driver/gate.go).
//   - Errors have a volume.Kind and name the pool or the volume. An ID that is not there is NotFound.
//   - While the pool itself cannot be read, each call is Unavailable and names it: what is in it is neither there nor gone.
//   - An ID whose Node or Pool is not the pool's own is NotFound.
//   - What is there and whose record is lost or damaged, or which lacks another part, hides nothing else and is not hidden:
//     Get and the lists return it with what is known and its Damage, never as one to format, Status is not healthy and names it, and its name is
//     not free. Nothing is made, copied, changed or deleted of it (InUse), but Detach takes its device away.
//   - The context ends waiting, never a change half way.
type Pool interface {
	// Name returns the pool's name in its configuration, which is the Pool of its IDs.
	Name() string

	// Status returns the pool's size, what is free for new volumes and its health. What is being
	// made at that moment counts as taken. An error means that the pool cannot be used at all.
	Status(ctx context.Context) (volume.PoolStatus, error)

	// List returns the volumes in the order of their names, beginning behind the name after (from
	// the first where it is empty) and at most limit of them (all where it is 0). What belongs to
	// somebody else, or is half made, is not listed. A list is whole, or an error.
	List(ctx context.Context, after string, limit int) ([]volume.Volume, error)

	// Get returns the volume, NotFound if there is none.
	Get(ctx context.Context, id volume.ID) (volume.Volume, error)

	// Create makes the volume that spec describes and returns it. Without a source it reads as
	// zeros and is marked volume.Fresh; a copy of a source has the source's bytes, zeros behind
	// them, and is marked volume.Used, or volume.Block where the source is. The size is the least that the pool can make within
	// spec.Size. A volume of that ID that fits the spec is returned as it is; one that does not is
	// Exists. Full if the space is not there, OutOfRange if no size fits or the source is larger
	// than the limit, NotFound if the source is not there, Unsupported if the pool cannot copy. Invalid
	// if mkfs or the kernel refuses what spec.Parameters ask of mkfs for spec.Mkfs; then nothing was made.
	Create(ctx context.Context, spec volume.Spec) (volume.Volume, error)

	// Delete removes the volume and gives its space back. Nil when there is none; InUse while its device is mounted,
	// open or bound. One that is only attached is InUse, too, or is detached for that: LVM attaches volumes that it moves. Snapshots taken of it stay, or the volume does (InUse).
	Delete(ctx context.Context, id volume.ID) error

	// Expand gives the volume the least size in the range that it can have, and its device with it
	// while attached. A volume that meets the range already keeps its size; one that never can is
	// OutOfRange. Full if the space is not there, InUse where it cannot grow while it has snapshots.
	Expand(ctx context.Context, id volume.ID, size volume.Range) (volume.Volume, error)

	// Attach makes the block device of the volume appear and returns its path. Exists if it is
	// attached already but not with this readOnly. Busy, as Detach, where the pool cannot do it while
	// it copies from a snapshot of the volume.
	Attach(ctx context.Context, id volume.ID, readOnly bool) (device string, err error)

	// Detach makes the block device go. Nil when there is none, or no volume; InUse while it is
	// mounted or open.
	Detach(ctx context.Context, id volume.ID) error

	// Mark moves the volume's mark forward, durably: when it returns nil, a power cut cannot bring
	// the old mark back. Setting the mark that stands is nil; moving it back is InUse. That a volume is
	// being formatted allows its caller to zero it, so setting volume.Formatting where it stands already
	// is nil only where what the pool keeps its marks in says so itself at that moment: LVM, or the
	// directory.
	Mark(ctx context.Context, id volume.ID, mark volume.Mark) error

	// Close ends the use of the pool. What is attached stays attached and usable.
	Close() error
}

// Losable is a Pool that may lose its place for good: a file system that has failed does not come back while the pool is
// open on it. Package reopen closes such a pool then, and opens it again.
type Losable interface {
	// Lost returns why the pool is to be closed and opened again; nil where its calls can succeed. It is asked after a
	// call that was Unavailable.
	Lost() error
}

// Snapshotter is a Pool that can take snapshots. It can then also make volumes from a snapshot and
// from another volume (volume.Spec.Source).
type Snapshotter interface {
	Pool

	// CreateSnapshot takes the snapshots that spec asks for, all at one instant and all or none, and
	// returns them in the order of spec.Volumes. A mounted file system is consistent in them; what
	// had been synced before the call is in them. Snapshots of that ID that fit the spec are
	// returned as they are, others are Exists. They hold the space they may come to need; Full where
	// that is not there.
	CreateSnapshot(ctx context.Context, spec volume.SnapshotSpec) ([]volume.Snapshot, error)

	// GetSnapshot returns the snapshot, whether it was taken alone or in a group.
	GetSnapshot(ctx context.Context, id volume.ID) (volume.Snapshot, error)

	// ListSnapshots returns the snapshots in the order of their names; after and limit are as in
	// List.
	ListSnapshots(ctx context.Context, after string, limit int) ([]volume.Snapshot, error)

	// DeleteSnapshot removes a snapshot taken alone. Nil when there is none; Invalid for a member of
	// a group, which goes with its group.
	DeleteSnapshot(ctx context.Context, id volume.ID) error

	// GetGroup returns the snapshots of a group, in the order of their names.
	GetGroup(ctx context.Context, group volume.ID) ([]volume.Snapshot, error)

	// DeleteGroup removes a group with all its snapshots, all or none. Nil when there is none.
	DeleteGroup(ctx context.Context, group volume.ID) error
}
