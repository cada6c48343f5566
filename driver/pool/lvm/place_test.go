package lvm

import (
	"slices"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/pool/lvm/vg/vgtest"
	"github.com/loam-storage/loam/driver/volume"
)

// Two disks with small blocks and 10 extents each, and two with large ones and 40.
func mixedPool(t *testing.T, c Config) (*Pool, *vg.Layout) {
	t.Helper()
	c.VolumeGroup = "vg0"
	p := fakePoolOf(t, c, &vgtest.LVM{Disks: []string{"/dev/vda"}})
	g := &vg.Layout{Name: "vg0", Extent: volume.MiB}
	for _, name := range []string{"/dev/s1", "/dev/s2", "/dev/l1", "/dev/l2"} {
		d := vg.Disk{Path: name, Allocatable: true, Extents: 40, Free: 40}
		if strings.HasPrefix(name, "/dev/s") {
			d.Free = 10
		}
		g.Disks = append(g.Disks, d)
	}
	p.diskBlock = func(path string) (volume.Size, error) {
		if strings.HasPrefix(path, "/dev/s") {
			return 512, nil
		}
		return 4096, nil
	}
	return p, g
}

func TestWhereVolumesLieOnDisksOfDifferentBlocks(t *testing.T) {
	small, large := []string{"/dev/s1", "/dev/s2"}, []string{"/dev/l1", "/dev/l2"}
	for _, c := range []struct {
		what   string
		config Config
		asked  volume.Size // blocks
		size   volume.Size
		block  volume.Size
		on     []string
		full   bool
	}{
		{what: "an empty one", size: 5 * volume.MiB, block: 4096, on: large},
		{what: "one of all that is large", size: 80 * volume.MiB, block: 4096, on: large},
		{what: "one larger than that", size: 81 * volume.MiB, full: true},
		{what: "one with small blocks", asked: 512, size: 20 * volume.MiB, block: 512, on: small},
		{what: "one with small blocks that is too large", asked: 512, size: 21 * volume.MiB, full: true},
		{what: "one with large blocks that are asked for", asked: 4096, size: 90 * volume.MiB, block: 4096},
		{what: "a mirror", config: Config{Type: RAID1}, size: 39 * volume.MiB, block: 4096, on: large},
		{what: "a mirror that is too large", config: Config{Type: RAID1}, size: 40 * volume.MiB, full: true},
		{what: "stripes over more disks than have small blocks", config: Config{Type: Striped, Stripes: 3}, size: 30 * volume.MiB, block: 4096, on: []string{"/dev/s1", "/dev/s2", "/dev/l1", "/dev/l2"}},
	} {
		p, g := mixedPool(t, c.config)
		at, err := p.layout.place(g, volume.Spec{BlockBytes: c.asked}, c.size)
		if c.full != volume.Is(err, volume.Full) || !c.full && (err != nil || at.block != c.block || !slices.Equal(at.on, c.on)) {
			t.Errorf("%s: %+v, %v", c.what, at, err)
		}
		if c.full && (!strings.Contains(err.Error(), "512 on /dev/s1, /dev/s2") || !strings.Contains(err.Error(), "vg0")) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	p, g := mixedPool(t, Config{})
	if r, err := p.capacity(g, vg.State{}); err != nil || r.free != 100 || r.largest != 80 || r.note == "" || r.trouble != "" {
		t.Errorf("the room is %+v, %v", r, err)
	}
	p.diskBlock = func(string) (volume.Size, error) { return 4096, nil }
	if at, err := p.layout.place(g, volume.Spec{}, 90*volume.MiB); err != nil || at.block != 4096 || at.on != nil {
		t.Errorf("where all are alike: %+v, %v", at, err)
	}
	if r, err := p.capacity(g, vg.State{}); err != nil || r.largest != 100 || r.note != "" {
		t.Errorf("the room where all are alike is %+v, %v", r, err)
	}
	if on, err := p.layout.growsOn(g, 512, 1); !volume.Is(err, volume.Full) {
		t.Errorf("small blocks where none are: %v, %v", on, err)
	}
}

// The blocks of a volume are those of all disks that it has bytes on, through hidden parts too.
func TestBlocksAreTheLargestOfTheDisks(t *testing.T) {
	p, g := mixedPool(t, Config{})
	of := func(name string, on ...vg.Range) vg.LV {
		l := vg.LV{Name: name, Hidden: vg.IsReserved(name)}
		for _, r := range on {
			l.Segments = append(l.Segments, vg.Segment{Ranges: []vg.Range{r}})
		}
		return l
	}
	g.LVs = []vg.LV{
		of("a", vg.Range{Disk: "/dev/s1", First: 0, Last: 9}), of("b", vg.Range{Disk: "/dev/s1", First: 10, Last: 12}, vg.Range{Disk: "/dev/l1", First: 0, Last: 1}),
		of("r_rimage_0", vg.Range{Disk: "/dev/s1", First: 13, Last: 14}), of("r_rimage_1", vg.Range{Disk: "/dev/l1", First: 3, Last: 3}), of("r"),
		of("tp_tdata", vg.Range{Disk: "/dev/s2", First: 0, Last: 1}), of("tp_tmeta", vg.Range{Disk: "/dev/l1", First: 4, Last: 4}), of("tp_x_tdata", vg.Range{Disk: "/dev/l2", First: 4, Last: 4}),
	}
	blocks, err := p.blocksOf(g)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]volume.Size{"a": 512, "b": 4096, "r": 4096, "tp": 512, "nothing": 0} {
		if got := p.shown(g, vg.LV{Name: name}, blocks); got != want {
			t.Errorf("%s has blocks of %d, want %d", name, got, want)
		}
	}
	if got := p.shown(g, vg.LV{Name: "t", Pool: "tp"}, blocks); got != 512 {
		t.Errorf("a thin volume has blocks of %d", got)
	}
}
