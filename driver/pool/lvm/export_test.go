package lvm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm/vg/metadata"
)

// StoredAndReported returns what the pool reads from the disks, and what LVM reports, as texts that have to be the same.
func StoredAndReported(ctx context.Context, opened pool.Pool) (stored, reported string, err error) {
	p := opened.(*Pool)
	vg, err := p.onDisk.Read(p.scanned())
	if err != nil {
		return "", "", err
	}
	g, err := p.look(ctx)
	return p.comparable(groupOf(vg)), p.comparable(g), err
}

// comparable writes down what of a group the pool takes from either.
func (p *Pool) comparable(g *group) string {
	var b strings.Builder
	var lines []string
	fmt.Fprintf(&b, "%s %d %q\n", g.name, g.extent, g.tags)
	for _, d := range slices.SortedFunc(slices.Values(g.disks), func(a, b disk) int { return cmp.Compare(a.name, b.name) }) {
		fmt.Fprintf(&b, "%+v\n", d)
	}
	for _, l := range slices.SortedFunc(slices.Values(g.lvs), func(a, b lv) int { return cmp.Compare(a.name, b.name) }) {
		if strings.HasPrefix(l.name, "[") {
			continue // of a hidden one nothing is taken
		}
		kind := strings.NewReplacer("R", "r", "O", "o", "S", "s").Replace(l.attr[:1]) // those are states of the same
		fmt.Fprintf(&b, "%s %s%s size %d cow %d pool %q origin %q metadata %d %q\n", l.name, kind, l.attr[1:2], l.size, l.cow, l.pool, l.origin, l.metaBytes, slices.Sorted(slices.Values(l.tags)))
		if p.thin() && l.name == p.config.ThinPool {
			i := slices.IndexFunc(g.segments, func(s segment) bool { return s.lv == l.name })
			fmt.Fprintf(&b, "chunk %d, zeroing %s\n", g.segments[i].chunk, l.attr[attrZeroing:attrZeroing+1])
		}
	}
	for _, s := range g.segments {
		if len(s.ranges) > 0 && strings.HasPrefix(s.ranges[0], "/") { // on disks, not on hidden logical volumes
			lines = append(lines, fmt.Sprintf("%s on %q", s.lv, s.ranges))
		}
	}
	return b.String() + strings.Join(slices.Sorted(slices.Values(lines)), "\n")
}

// ReadStale has the pool read from now on, and until the returned function is called, what is at the beginning of its disks
// now, with LVM's metadata, whatever is written there.
func ReadStale(opened pool.Pool) (again func(), err error) {
	p := opened.(*Pool)
	const beginning = 2 << 20 // of a disk, with its label and its metadata area
	was, kept := p.onDisk.Open, map[string][]byte{}
	for _, path := range p.scanned() {
		d, err := host.OpenDirect(path)
		if err != nil {
			return nil, err
		}
		b := make([]byte, beginning)
		_, err = d.ReadAt(b, 0)
		if err := errors.Join(err, d.Close()); err != nil {
			return nil, err
		}
		kept[path] = b
	}
	p.onDisk.Open = func(path string) (metadata.Disk, error) { return staleDisk{bytes.NewReader(kept[path])}, nil }
	return func() { p.onDisk.Open = was }, nil
}

type staleDisk struct{ *bytes.Reader }

func (staleDisk) Close() error { return nil }
