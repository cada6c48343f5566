package lvm

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// thin is the layout of volumes in a thin pool.
type thin struct{ *ground }

func (p *thin) where() (identity.Kind, string) {
	return identity.LVMThin, fmt.Sprintf("thin pool %q of volume group %q", p.config.ThinPool, p.config.VolumeGroup)
}

func (p *thin) makes(segmentType string, _ bool) bool { return segmentType == "thin" }

func (p *thin) unhealthy(*vg.Report) string { return "" }

func (p *thin) parts() shape { return p.config.shape() }

func (p *thin) lies(vg.LV) string { return p.config.ThinPool + "_tdata" }

func (p *thin) unit() volume.Size { return p.extentSize() }

func (p *thin) cost(size volume.Size) int64 { return int64(size.RoundUp(p.unit())) }

func (p *thin) snapshotCost(size volume.Size) int64 { return p.cost(size) }

func (p *thin) bytes(n int64, _ volume.Size) volume.Size { return volume.Size(n) }

func (p *thin) created() string { return tagReady }

func (p *thin) createFlags(size volume.Size) []string {
	return []string{"--virtualsize", byteText(size) + "b", "--thinpool", p.config.ThinPool}
}

func (p *thin) snapshotFlags(volume.Size) []string { return nil }

func (p *thin) shares() bool { return true }

func (p *thin) wipes() bool { return false }

func (p *thin) removable() vg.Is { return vg.Whatever }

// activate selects by the permission in the metadata: a setting of the command would make the thin pool read-only, too.
func (p *thin) activate(c *vg.Command, _ string, readOnly bool) {
	c.Select.Is = vg.Writable
	if readOnly {
		c.Select.Is = vg.ReadOnly
	}
}

func (p *thin) permits() bool { return true }

func (p *thin) writable(volume.ID, vg.LV) error { return nil }

func (p *thin) keepReadOnly(...string) (string, error) { return "", nil }

// check says whether the group is one that the pool can be in.
func (p *thin) check(g *vg.Layout) error {
	t, ok := g.Find(p.config.ThinPool)
	switch {
	case !ok:
		return volume.Errorf(volume.Unavailable, "there is no logical volume %q in volume group %q", p.config.ThinPool, g.Name)
	case t.Type != vg.TypeThinPool:
		return volume.Errorf(volume.Invalid, "logical volume %q in volume group %q is not a thin pool", p.config.ThinPool, g.Name)
	case !t.Zeroes:
		return volume.Errorf(volume.Invalid, "thin pool %q in volume group %q does not zero its blocks, so one volume could read what another wrote: lvchange --zero y %[2]s/%[1]s", p.config.ThinPool, g.Name)
	}
	return nil
}

// What a thin pool needs of its metadata for each chunk that is mapped: a leaf of its B-tree has 252
// entries in 4 KiB and is at least a third full, and the rest of the tree and the superblock come on top.
const (
	mappingBytes  = 52
	metadataBytes = 512 * volume.KiB
)

// capacity adds up what all volumes and snapshots in the thin pool, also those of others, may come to
// need of its data and metadata.
func (p *thin) capacity(g *vg.Layout, state vg.State) (capacity, error) {
	t, ok := g.Find(p.config.ThinPool)
	if !ok {
		return capacity{}, volume.Errorf(volume.Unavailable, "pool %q: there is no thin pool %q in volume group %q any more", p.name, p.config.ThinPool, g.Name)
	}
	promised, mapped := p.promises(t)
	limit := min(promised, mapped) // full metadata is worse than full data
	var taken, foreign volume.Size
	for _, l := range g.LVs {
		if l.Pool != t.Name {
			continue
		}
		taken += l.Size
		if !p.ours(l) {
			foreign += l.Size
		}
	}
	back := p.config.Reserve(t.Size)
	r := capacity{total: int64(max(limit-back-foreign, 0)), free: int64(max(limit-back-taken, 0)), reserve: int64(back), trouble: reserveTrouble(back, limit)}
	switch {
	case taken > 0 && !state.Active:
		r.free, r.broken = 0, true
		r.trouble = fmt.Sprintf("thin pool %q is not active, so nobody knows how full it is: lvchange --activate y %s/%[1]s", t.Name, g.Name)
	case state.Health == host.ThinReadOnly && state.Metadata < nearlyFull:
		r.free, r.broken = 0, true
		r.trouble = fmt.Sprintf("thin pool %q is read-only since a write of its metadata failed: when all of its volumes are detached, it is checked and can be written to again", t.Name)
	case state.Health != "" && state.Health != host.ThinReadOnly:
		r.free, r.broken = 0, state.Health != host.ThinOutOfData
		r.trouble = fmt.Sprintf("thin pool %q is %s: see lvmthin(7)", t.Name, state.Health)
	case state.Data >= nearlyFull && taken > t.Size:
		r.free = 0
		r.trouble = fmt.Sprintf("thin pool %q has %.1f%% of its data taken: lvextend it, or delete volumes", t.Name, state.Data)
	case state.Metadata >= nearlyFull:
		r.free = 0
		r.trouble = fmt.Sprintf("thin pool %q has %.1f%% of its metadata taken: lvextend --poolmetadatasize it", t.Name, state.Metadata)
	}
	r.largest = r.free / int64(g.Extent) * int64(g.Extent)
	return r, nil
}

// promises returns what a thin pool may promise by its size, and what its metadata can map.
func (p *thin) promises(t vg.LV) (promised, mapped volume.Size) {
	return volume.Size(float64(t.Size) * p.config.Ratio()), max(t.MetadataSize-metadataBytes, 0) / mappingBytes * t.Chunk
}

// takenBy says what the thin pool has promised to whom.
func (p *thin) takenBy(g *vg.Layout, _ capacity) string {
	t, _ := g.Find(p.config.ThinPool)
	var ours, others volume.Size
	for _, l := range g.LVs {
		switch {
		case l.Pool != t.Name:
		case p.ours(l):
			ours += l.Size
		default:
			others += l.Size
		}
	}
	promised, mapped := p.promises(t)
	text := fmt.Sprintf("thin pool %s/%s has %s and promises %s, of which volumes and snapshots of the pool have %s, and others %s", g.Name, t.Name, t.Size, min(promised, mapped), ours, others)
	if mapped < promised {
		text += fmt.Sprintf("; its metadata can map no more (lvextend --poolmetadatasize), else it would promise %s", promised)
	}
	if back := p.config.Reserve(t.Size); back > 0 {
		text += fmt.Sprintf("; the pool keeps back %s (reserve)", back)
	}
	return text
}

// place decides where a volume may lie: in the thin pool, whose blocks it has.
func (p *thin) place(g *vg.Layout, spec volume.Spec, size volume.Size) (placement, error) {
	return p.placeWithin(g, spec, 0, size)
}

// placeWithin is place for one whose blocks are given, by the spec or by what it is a copy of. The kind of its error is InUse where
// the thin pool cannot have them.
func (p *thin) placeWithin(g *vg.Layout, spec volume.Spec, source, _ volume.Size) (placement, error) {
	blocks, err := p.blocksOf(g)
	if err != nil {
		return placement{}, err
	}
	own := p.shown(g, vg.LV{Name: p.config.ThinPool}, blocks)
	block, err := spec.PickBlockBytes(source, own)
	if err != nil {
		return placement{}, volume.Errorf(volume.KindOf(err), "volume %q: %w", spec.ID, err)
	}
	if block != 0 && own > block {
		return placement{}, volume.Errorf(volume.InUse, "pool %q: volume %q is to have logical blocks of %d bytes, and thin pool %q lies on disks with %d: pvmove %s/%[4]s_tdata to disks with small ones", p.name, spec.ID, int64(block), p.config.ThinPool, int64(own), g.Name)
	}
	return placement{block: block}, nil
}

// growsOn returns none: a thin volume takes nothing of a disk itself.
func (p *thin) growsOn(*vg.Layout, volume.Size, int64) ([]string, error) { return nil, nil }

// retake removes the thin device of a snapshot, and takes it again with the same number.
func (p *thin) retake(_ context.Context, s, origin vg.LV) (func() error, error) {
	table, err := p.machine.MapperTable(p.vg.Mapped(origin.Name))
	if err != nil {
		return nil, err
	}
	of, number := strconv.FormatInt(origin.ThinID, 10), strconv.FormatInt(s.ThinID, 10)
	if fields := strings.Fields(table.Parameters); table.Target != "thin" || len(fields) < 2 || fields[1] != of || number == "0" || number == of {
		return nil, volume.Errorf(volume.Internal, "pool %q: LVM has numbers %s and %s in the thin pool for logical volume %q and snapshot %q, and device-mapper has %q for the first", p.name, of, number, origin.Name, s.Name, table.Parameters)
	}
	target := p.vg.Mapped(p.config.ThinPool) + "-tpool"
	if err := p.machine.MapperMessage(target, "delete "+number); err != nil {
		return nil, err
	}
	return func() error { return p.machine.MapperMessage(target, "create_snap "+number+" "+of) }, nil
}
