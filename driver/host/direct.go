package host

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// directBytes is what direct I/O is aligned to: no disk has larger sectors.
const directBytes = 4096

// directMemory gets memory of its own, which is aligned as direct I/O wants it, until unix.Munmap.
func directMemory(bytes int) ([]byte, error) {
	return unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

// Direct is a block device or file that is read past the page cache.
type Direct struct{ file *os.File }

// OpenDirect opens a block device or file to be read past the page cache (O_DIRECT, open(2)).
func OpenDirect(path string) (*Direct, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil, failed("open", path, err)
	}
	return &Direct{file: f}, nil
}

// ReadAt is that of io.ReaderAt. It may be anywhere, and of any length.
func (d *Direct) ReadAt(b []byte, at int64) (_ int, err error) {
	from := at &^ (directBytes - 1)
	to := (at + int64(len(b)) + directBytes - 1) &^ (directBytes - 1)
	pages, err := directMemory(int(max(to-from, directBytes)))
	if err != nil {
		return 0, failed("get memory to read", d.file.Name(), err)
	}
	defer func() { err = errors.Join(err, unix.Munmap(pages)) }()
	n, err := d.file.ReadAt(pages[:to-from], from)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, failed("read", d.file.Name(), err)
	}
	n = copy(b, pages[min(int64(n), at-from):n])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Close closes it.
func (d *Direct) Close() error { return d.file.Close() }
