package metadata

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// What LVM writes at the beginning of a physical volume (format_text/layout.h and label/label.h of LVM2): a label in
// one of the first four sectors, which says where the metadata areas are, and at the beginning of each of those a
// header, which says where in the area the text is that counts. The text lies in a ring: what does not fit behind the
// last one goes on behind the header.
const (
	sectorBytes = 512
	labelScan   = 4 * sectorBytes
	labelID     = "LABELONE"
	labelType   = "LVM2 001"
	headerBytes = 512
	headerMagic = " LVM2 x[5A%r0N*>"
	ignored     = 1 // RAW_LOCN_IGNORED
	initialCRC  = 0xf597a6cf

	// maxTextBytes bounds what a damaged header can ask for. LVM's own areas are of 1 MiB unless told otherwise.
	maxTextBytes = 256 << 20
)

// crc is the sum that LVM takes of everything: CRC-32 without the last inversion, from a value of its own.
func crc(b []byte) uint32 { return ^crc32.Update(^uint32(initialCRC), crc32.IEEETable, b) }

// location is a place on a physical volume.
type location struct{ offset, size uint64 } // bytes

// disk is what the beginning of a physical volume says.
type disk struct {
	id    string // UUID without its hyphens
	areas []location
}

// readLabel reads the label of a physical volume from its first labelScan bytes.
func readLabel(b []byte) (disk, error) {
	var sector []byte
	for at := 0; at < labelScan && sector == nil; at += sectorBytes {
		if bytes.HasPrefix(b[at:], []byte(labelID)) && string(b[at+24:at+32]) == labelType {
			sector = b[at : at+sectorBytes]
		}
	}
	if sector == nil {
		return disk{}, fmt.Errorf("it has no label of LVM")
	}
	if binary.LittleEndian.Uint32(sector[16:]) != crc(sector[20:]) {
		return disk{}, fmt.Errorf("the sum of its label is wrong")
	}
	at := binary.LittleEndian.Uint32(sector[20:])
	if at < 32 || at > sectorBytes-40 {
		return disk{}, fmt.Errorf("its label is damaged")
	}
	d := disk{id: string(sector[at : at+32])}
	rest := sector[at+40:] // behind the size of the disk
	lists := 0             // of data areas, then of metadata areas; each ends with a zero
	for ; lists < 2 && len(rest) >= 16; rest = rest[16:] {
		l := location{binary.LittleEndian.Uint64(rest), binary.LittleEndian.Uint64(rest[8:])}
		switch {
		case l.offset == 0:
			lists++
		case lists == 1:
			d.areas = append(d.areas, l)
		}
	}
	if lists < 2 {
		return disk{}, fmt.Errorf("its label is damaged")
	}
	return d, nil
}

// text is where in an area the text is that counts.
type text struct {
	location
	sum  uint32
	ring uint64 // where the area ends
}

// readHeader reads the header of a metadata area, and reports whether the area is used.
func readHeader(b []byte, area location) (text, bool, error) {
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	switch {
	case string(b[4:20]) != headerMagic || u32(20) != 1 || u32(0) != crc(b[4:headerBytes]):
		return text{}, false, fmt.Errorf("its metadata area at %d has a damaged header", area.offset)
	case u64(24) != area.offset || u64(32) < headerBytes || (area.size != 0 && u64(32) > area.size):
		return text{}, false, fmt.Errorf("the header of its metadata area at %d is that of another", area.offset)
	}
	t := text{location{u64(40), u64(48)}, u32(56), u64(32)}
	if t.offset == 0 || u32(60)&ignored != 0 {
		return text{}, false, nil
	}
	if t.offset < headerBytes || t.offset >= t.ring || t.size > min(t.ring-headerBytes, maxTextBytes) {
		return text{}, false, fmt.Errorf("its metadata area at %d has a text outside of it", area.offset)
	}
	return t, true, nil
}

// readText reads the text, and fails where its sum is wrong: another may have been written over it meanwhile.
func readText(r io.ReaderAt, area location, t text) ([]byte, error) {
	b := make([]byte, t.size)
	first := min(t.size, t.ring-t.offset)
	if _, err := r.ReadAt(b[:first], int64(area.offset+t.offset)); err != nil {
		return nil, err
	}
	if first < t.size {
		if _, err := r.ReadAt(b[first:], int64(area.offset+headerBytes)); err != nil {
			return nil, err
		}
	}
	if crc(b) != t.sum {
		return nil, fmt.Errorf("the sum of its metadata is wrong")
	}
	return bytes.TrimRight(b, "\x00"), nil
}
