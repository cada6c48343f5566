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
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/pool/lvm/vg/metadata"
)

// StoredAndReported returns what the pool reads from the disks, and what LVM reports, as texts that have to be the same.
func StoredAndReported(ctx context.Context, opened pool.Pool) (stored, reported string, err error) {
	p := opened.(*Pool)
	before := p.vg.Fallbacks()
	l, err := p.vg.Layout(ctx)
	if err == nil && p.vg.Fallbacks() != before {
		err = errors.New("it cannot be read from the disks")
	}
	if err != nil {
		return "", "", err
	}
	r, err := p.vg.Report(ctx)
	if err != nil {
		return "", "", err
	}
	return p.comparable(l), p.comparable(&r.Layout), nil
}

// comparable writes down what of a group the pool takes from either.
func (p *Pool) comparable(g *vg.Layout) string {
	var b strings.Builder
	var lines []string
	fmt.Fprintf(&b, "%s %d %q\n", g.Name, g.Extent, g.Tags)
	for _, d := range slices.SortedFunc(slices.Values(g.Disks), func(a, b vg.Disk) int { return cmp.Compare(a.Path, b.Path) }) {
		fmt.Fprintf(&b, "%+v\n", d)
	}
	for _, l := range slices.SortedFunc(slices.Values(g.LVs), func(a, b vg.LV) int { return cmp.Compare(a.Name, b.Name) }) {
		for _, s := range l.Segments {
			if len(s.Ranges) > 0 {
				lines = append(lines, fmt.Sprintf("%s on %q", l.Name, s.Ranges))
			}
		}
		if l.Hidden {
			continue // of a hidden one nothing else is taken
		}
		fmt.Fprintf(&b, "%s is %d, writable %t, with snapshots %t, merging %t, moved %t, uuid %s, size %d cow %d pool %q thin %d origin %q %q\n",
			l.Name, l.Type, l.Writable, l.HasSnapshots, l.Merging, l.Moved, l.UUID, l.Size, l.Store, l.Pool, l.ThinID, l.Origin, slices.Sorted(slices.Values(l.Tags)))
		if l.Name == p.config.ThinPool {
			zeroing := map[bool]string{true: "z", false: "-"}[l.Zeroes]
			fmt.Fprintf(&b, "chunk %d, zeroing %s, metadata %d, transaction %d\n", l.Chunk, zeroing, l.MetadataSize, l.Transaction)
		}
	}
	return b.String() + strings.Join(slices.Sorted(slices.Values(lines)), "\n")
}

// ReadStale has the pool read from now on, and until the returned function is called, what is at the beginning of its disks
// now, with LVM's metadata, whatever is written there.
func ReadStale(opened pool.Pool) (again func(), err error) {
	p := opened.(*Pool)
	const beginning = 2 << 20 // of a disk, with its label and its metadata area
	was, kept := p.vg.Disks.Open, map[string][]byte{}
	r, err := p.vg.Report(context.Background())
	if err != nil {
		return nil, err
	}
	for _, of := range r.Disks {
		path := of.Path
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
	p.vg.Disks.Open = func(path string) (metadata.Disk, error) { return staleDisk{bytes.NewReader(kept[path])}, nil }
	return func() { p.vg.Disks.Open = was }, nil
}

type staleDisk struct{ *bytes.Reader }

func (staleDisk) Close() error { return nil }
