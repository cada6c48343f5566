package lvm

import (
	"context"
	"os"
	"sync/atomic"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// layout is how the volumes of a pool lie in its volume group: thick, each with blocks of its own, or thin, in a thin pool. What it counts
// in is for it to say: extents of each image of a volume, or bytes.
type layout interface {
	where() (identity.Kind, string) // what carries the identity of the pool, in words
	check(g *vg.Layout) error       // whether a group is one that the pool can be in
	makes(segmentType string, part bool) bool

	capacity(g *vg.Layout, thinPool vg.State) (capacity, error)
	unhealthy(r *vg.Report) string // what is wrong with what is in it, empty for nothing
	takenBy(g *vg.Layout, c capacity) string
	cost(size volume.Size) int64         // of a volume of that size
	snapshotCost(size volume.Size) int64 // of a snapshot of one
	bytes(n int64, extent volume.Size) volume.Size
	unit() volume.Size // that sizes are rounded up to
	parts() shape      // what a volume has on disks of its own

	place(g *vg.Layout, spec volume.Spec, size volume.Size) (placement, error)
	placeWithin(g *vg.Layout, spec volume.Spec, source, size volume.Size) (placement, error)
	growsOn(g *vg.Layout, block volume.Size, cost int64) ([]string, error)
	lies(l vg.LV) string // the logical volume that has its bytes on disks

	createFlags(size volume.Size) []string // of lvcreate
	created() string                       // the tag that says up to where a new volume can be read
	snapshotFlags(size volume.Size) []string
	shares() bool // a copy shares the blocks of its source
	wipes() bool  // that a volume shows nothing of others is seen to by wiping
	removable() vg.Is

	activate(c *vg.Command, name string, readOnly bool)
	permits() bool // the permission in the metadata is that of the next attach
	writable(id volume.ID, l vg.LV) error
	keepReadOnly(lvs ...string) (string, error)
	retake(ctx context.Context, s, origin vg.LV) (func() error, error) // prepares a snapshot to be taken anew while its volume is suspended
}

// ground is what a pool and its layout stand on.
type ground struct {
	owner
	config    Config
	machine   *host.Host
	vg        *vg.Group
	diskBlock func(path string) (volume.Size, error) // size of a logical block
	extent    atomic.Int64                           // size of an extent, when LVM last reported it
	lock      *os.File                               // nil while only inspected
}

func (p *ground) extentSize() volume.Size { return volume.Size(p.extent.Load()) }

// account knows what there is in the group for the pool, and what is to be had of it; and says why LVM refused something.
type account struct {
	*ground
	layout    layout
	space     space
	extension atomic.Pointer[extension] // nil where the thin pool is not to be extended
}

// lvs makes the logical volumes of the pool and their devices, changes them, and removes them.
type lvs struct {
	*account
	copies copies
	held   pool.HeldTimes // how long volumes were suspended for snapshots, at most
}
