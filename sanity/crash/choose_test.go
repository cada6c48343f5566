package crash_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

// maxLarge is how many volumes with xfs there may be at once, and as many with btrfs.
const maxLarge = 3

// sizes are the least and the largest size of a volume.
var sizes = map[string]struct{ least, most volume.Size }{
	block:                {8 * volume.MiB, 24 * volume.MiB},
	string(volume.Ext4):  {24 * volume.MiB, 64 * volume.MiB},
	string(volume.XFS):   {volume.XFS.Least(), volume.XFS.Least() + 48*volume.MiB},
	string(volume.Btrfs): {volume.Btrfs.Least(), volume.Btrfs.Least() + 48*volume.MiB},
}

// step is by how much volumes grow.
var step = map[string]volume.Size{
	block: 4 * volume.MiB, string(volume.Ext4): 8 * volume.MiB, string(volume.XFS): 16 * volume.MiB, string(volume.Btrfs): 16 * volume.MiB,
}

// choice is a kind of operation: how often it comes, and one of it that can be done now.
type choice struct {
	weight int
	choose func(*chooser) (operation, bool)
}

// choices are those of a run in which the driver is killed.
var choices = []choice{
	{16, (*chooser).create}, {8, (*chooser).restore}, {8, (*chooser).cloneVolume}, {20, (*chooser).delete},
	{7, (*chooser).attach}, {6, (*chooser).detach}, {18, (*chooser).stage}, {14, (*chooser).unstage},
	{14, (*chooser).publish}, {16, (*chooser).unpublish}, {7, (*chooser).inline},
	{6, (*chooser).expand}, {5, (*chooser).expandNode},
	{9, (*chooser).snapshot}, {7, (*chooser).deleteSnapshot}, {5, (*chooser).group}, {5, (*chooser).deleteGroup},
	{3, (*chooser).refuse}, {1, (*chooser).absent},
}

// lasting are those of a run in which the power goes: more of what is to be there when it comes back.
var lasting = []choice{
	{16, (*chooser).create}, {12, (*chooser).restore}, {6, (*chooser).cloneVolume}, {14, (*chooser).delete},
	{24, (*chooser).stage}, {8, (*chooser).unstage}, {3, (*chooser).publish}, {10, (*chooser).unpublish}, {4, (*chooser).inline},
	{6, (*chooser).expand}, {14, (*chooser).snapshot}, {8, (*chooser).deleteSnapshot}, {4, (*chooser).group}, {3, (*chooser).deleteGroup},
}

// chooser chooses what to do next. What it chooses depends on its seed and the model alone.
type chooser struct {
	*model
	from   []choice
	random *rand.Rand
	ext4   bool // an ext4 can grow

	btrfsTwins bool // two btrfs of one UUID can be mounted at once, as with Linux 6.7 and later
}

// canGrowExt4 reports whether the kernel lets this process, and so the driver, grow a mounted ext4.
func canGrowExt4(t *testing.T) bool {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	can := data[unix.CAP_SYS_RESOURCE/32].Effective&(1<<(unix.CAP_SYS_RESOURCE%32)) != 0
	if !can {
		t.Log("NOT TESTED: growing ext4, for this process lacks CAP_SYS_RESOURCE")
	}
	return can
}

// grows reports whether what is made for that form can grow.
func (c *chooser) grows(form string, used bool) bool {
	return form != string(volume.Ext4) || !used || c.ext4
}

func (c *chooser) next() operation {
	total := 0
	for _, one := range c.from {
		total += one.weight
	}
	for {
		n := c.random.IntN(total)
		for _, one := range c.from {
			if n -= one.weight; n < 0 {
				if o, ok := one.choose(c); ok {
					return o
				}
				break
			}
		}
	}
}

func (c *chooser) chance(percent int) bool { return c.random.IntN(100) < percent }

// one returns one of them, false where there is none.
func one[T any](c *chooser, of []T) (T, bool) {
	if len(of) == 0 {
		var none T
		return none, false
	}
	return of[c.random.IntN(len(of))], true
}

// name returns a name that nothing has, often one that something had.
func (c *chooser) name(prefix string) string {
	for {
		name := fmt.Sprintf("%s-%02d", prefix, c.random.IntN(40))
		if !slices.ContainsFunc(c.where.pools(), func(pool string) bool { return c.names(handleOf(pool, name)) }) {
			return name
		}
	}
}

// names reports whether a handle names anything.
func (c *chooser) names(handle string) bool {
	_, isVolume := c.volumes[handle]
	_, isSnapshot := c.snapshots[handle]
	_, isGroup := c.groups()[handle]
	return isVolume || isSnapshot || isGroup
}

// form chooses what a new volume in the pool is for; false where there is no room.
func (c *chooser) form(pool string) (string, bool) {
	forms := []string{block, block, string(volume.Ext4), string(volume.Ext4), string(volume.Ext4), string(volume.Btrfs), string(volume.XFS), string(volume.XFS)}
	if c.where.slow(pool) {
		forms = forms[:6]
	}
	form, _ := one(c, forms)
	return form, c.room(form)
}

func (c *chooser) room(form string) bool {
	large := form == string(volume.XFS) || form == string(volume.Btrfs)
	alike := c.those(func(v vol) bool { return v.form == form })
	most, _ := c.where.most()
	return len(c.volumes) < most && (!large || len(alike) < maxLarge)
}

// roomForSnapshots reports whether there may be so many more.
func (c *chooser) roomForSnapshots(n int) bool {
	_, most := c.where.most()
	return len(c.snapshots)+n <= most
}

// canBeCopied reports whether a snapshot or clone of the volume can be made, and used.
func (c *chooser) canBeCopied(v vol) bool {
	return v.copies() && v.inline == ""
}

// bound reports whether the volume has snapshots that it cannot be without.
func (c *chooser) bound(v vol) bool {
	return !c.where.snapshotsStay(v.pool) && len(c.taken(func(s snap) bool { return s.volume == v.handle })) > 0
}

func (c *chooser) size(form string) volume.Size {
	return sizes[form].least + step[form]*volume.Size(c.random.IntN(2))
}
