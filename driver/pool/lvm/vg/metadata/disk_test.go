package metadata

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	areaOffset = 4096
	areaSize   = 64 << 10
)

// testDisk is a file that has what LVM writes at the beginning of a disk.
type testDisk struct {
	t    *testing.T
	path string
	next uint64 // where in the ring the next text begins
}

func newDisk(t *testing.T, id string) *testDisk {
	d := &testDisk{t: t, path: filepath.Join(t.TempDir(), "disk"), next: headerBytes}
	if err := os.WriteFile(d.path, make([]byte, 2*areaSize), 0o600); err != nil {
		t.Fatal(err)
	}
	label := make([]byte, sectorBytes)
	le := binary.LittleEndian
	copy(label, labelID)
	le.PutUint64(label[8:], 1) // its sector
	le.PutUint32(label[20:], 32)
	copy(label[24:], labelType)
	copy(label[32:], strings.ReplaceAll(id, "-", ""))
	le.PutUint64(label[64:], 2*areaSize)
	le.PutUint64(label[72:], 1<<20) // data area, and the zeros that end the list
	le.PutUint64(label[104:], areaOffset)
	le.PutUint64(label[112:], areaSize)
	le.PutUint32(label[16:], crc(label[20:]))
	d.write(label, sectorBytes)
	return d
}

func (d *testDisk) write(b []byte, at int64) {
	d.t.Helper()
	f, err := os.OpenFile(d.path, os.O_WRONLY, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, at); err != nil {
		d.t.Fatal(err)
	}
}

// put writes a text behind the last one, and has the header say that it counts.
func (d *testDisk) put(text string, flags uint32) {
	b := append([]byte(text), 0)
	first := min(uint64(len(b)), areaSize-d.next)
	d.write(b[:first], int64(areaOffset+d.next))
	d.write(b[first:], areaOffset+headerBytes)
	h := make([]byte, headerBytes)
	le := binary.LittleEndian
	copy(h[4:], headerMagic)
	le.PutUint32(h[20:], 1)
	le.PutUint64(h[24:], areaOffset)
	le.PutUint64(h[32:], areaSize)
	le.PutUint64(h[40:], d.next)
	le.PutUint64(h[48:], uint64(len(b)))
	le.PutUint32(h[56:], crc(b))
	le.PutUint32(h[60:], flags)
	le.PutUint32(h, crc(h[4:]))
	d.write(h, areaOffset)
	if d.next = (d.next + uint64(len(b)) + sectorBytes - 1) &^ (sectorBytes - 1); d.next >= areaSize {
		d.next -= areaSize - headerBytes
	}
}

// damage turns the bits of one byte over.
func (d *testDisk) damage(at int64) {
	b, err := os.ReadFile(d.path)
	if err != nil {
		d.t.Fatal(err)
	}
	d.write([]byte{^b[at]}, at)
}

func reader() *Reader {
	return &Reader{Open: func(path string) (Disk, error) { return os.Open(path) }}
}

// sample is the metadata of a group as LVM writes them.
func sample(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("testdata/group.txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// at gives the sample another sequence number.
func at(text, seqNo string) string { return strings.Replace(text, "seqno = 15", "seqno = "+seqNo, 1) }

// The UUIDs of the disks in the sample.
var sampleDisks = []string{"CuKX1n-k1Fc-hGO2-jHu2-rEhL-N00s-QjL79k", "4wtorc-eEqs-PKs4-ZpQN-t7A9-MawL-V0fQt2"}

func twoDisks(t *testing.T) (a, b *testDisk, paths []string) {
	a, b = newDisk(t, sampleDisks[0]), newDisk(t, sampleDisks[1])
	return a, b, []string{a.path, b.path}
}

func TestEveryChangeIsSeen(t *testing.T) {
	text := sample(t)
	a, b, paths := twoDisks(t)
	r := reader()
	for i, seqNo := range []string{"15", "16", "17", "18", "19", "20", "21", "22", "23", "24", "25", "26"} { // around the ring
		a.put(at(text+strings.Repeat("# long\n", 2000), seqNo), 0)
		b.put(at(text+strings.Repeat("# long\n", 2000), seqNo), 0)
		g, err := r.Read(paths)
		if err != nil || g.SeqNo != int64(15+i) {
			t.Fatalf("%s: %+v, %v", seqNo, g, err)
		}
		if again, err := r.Read(paths); err != nil || again != g {
			t.Errorf("%s: what has not changed was read again: %v", seqNo, err)
		}
	}
	a.put(at(text, "27"), 0) // LVM is between one disk and the other
	if g, err := r.Read(paths); err != nil || g.SeqNo != 27 {
		t.Errorf("half a change: %+v, %v", g, err)
	}
	b.put(at(text, "28"), ignored)
	if g, err := r.Read(paths); err != nil || g.SeqNo != 27 {
		t.Errorf("an area that is ignored: %+v, %v", g, err)
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	text := sample(t)
	for what, spoil := range map[string]func(a, b *testDisk){
		"label":            func(a, _ *testDisk) { a.damage(sectorBytes + 70) },
		"no label":         func(_, b *testDisk) { b.write(make([]byte, sectorBytes), sectorBytes) },
		"header":           func(a, _ *testDisk) { a.damage(areaOffset + 41) },
		"text":             func(_, b *testDisk) { b.put(text+"# other", 0); b.damage(areaOffset + int64(b.next) - 700) },
		"no group":         func(a, b *testDisk) { a.put("version = 1", 0); b.put("version = 1", 0) },
		"none that counts": func(a, b *testDisk) { a.put(text, ignored); b.put(text, ignored) },
		"cut off":          func(a, b *testDisk) { a.put(text[:900], 0); b.put(text[:900], 0) },
		"missing disk": func(a, _ *testDisk) {
			a.put(at(strings.Replace(text, `flags = []`, `flags = ["MISSING"]`, 2), "16"), 0)
		},
		"segment of others": func(a, _ *testDisk) { a.put(at(strings.Replace(text, `type = "striped"`, `type = "new"`, 1), "16"), 0) },
		"other disk": func(a, _ *testDisk) {
			a.put(at(strings.Replace(text, sampleDisks[1], sampleDisks[1][1:]+"x", 1), "16"), 0)
		},
	} {
		a, b, paths := twoDisks(t)
		a.put(text, 0)
		b.put(text, 0)
		r := reader()
		if _, err := r.Read(paths); err != nil {
			t.Fatal(err)
		}
		spoil(a, b)
		if g, err := r.Read(paths); err == nil {
			t.Errorf("%s: it was read as %+v", what, g)
		}
	}
	a, b, _ := twoDisks(t)
	a.put(text, 0)
	b.put(text, 0)
	for _, paths := range [][]string{nil, {a.path}, {a.path, a.path}, {a.path, b.path, filepath.Join(t.TempDir(), "none")}} {
		if g, err := reader().Read(paths); err == nil {
			t.Errorf("%q: they were read as %+v", paths, g)
		}
	}
}

func FuzzDisk(f *testing.F) {
	f.Add([]byte("label"), []byte("header"), []byte("vg { id = \"x\" }"))
	f.Fuzz(func(_ *testing.T, label, header, text []byte) {
		sector := append(label, make([]byte, labelScan)...)[:labelScan]
		copy(sector, labelID)
		copy(sector[24:], labelType)
		binary.LittleEndian.PutUint32(sector[16:], crc(sector[20:sectorBytes]))
		_, _ = readLabel(sector)
		h := append(header, make([]byte, headerBytes)...)[:headerBytes]
		copy(h[4:], headerMagic)
		binary.LittleEndian.PutUint32(h, crc(h[4:]))
		l := location{binary.LittleEndian.Uint64(h[24:]), binary.LittleEndian.Uint64(h[32:])}
		if t, used, err := readHeader(h, l); err == nil && used && l.size < 1<<20 {
			_, _ = readText(bytes.NewReader(append(h, text...)), l, t)
		}
		if top, err := parse(text); err == nil {
			_, _ = volumeGroup(top)
		}
	})
}
