package crash_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

const (
	dataName  = "data" // the file in a file system that the content is in
	blockData = 4 << 20
)

// contentBytes is how long the content is that is called by a number other than 0: from 64 KiB to
// 4 MiB in a file system; in a block volume always the same, so that it covers what was there before.
func contentBytes(number uint64, isBlock bool) int64 {
	if isBlock {
		return blockData
	}
	return (64 << 10) << (number % 7)
}

func content(number uint64, isBlock bool) []byte {
	b := make([]byte, contentBytes(number, isBlock))
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], number)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

// digests remembers what the contents are that were written, for with the race detector it takes a
// while to make one.
type digests map[contentOf][sha256.Size]byte

type contentOf struct {
	number  uint64
	isBlock bool
}

func (d digests) of(number uint64, isBlock bool) [sha256.Size]byte {
	of := contentOf{number, isBlock}
	if _, known := d[of]; !known {
		d[of] = sha256.Sum256(content(number, isBlock))
	}
	return d[of]
}

// write writes the content into the volume at a path. Without sync a file stays in the page cache.
func (d digests) write(path string, v vol, number uint64, sync bool) (err error) {
	file, flags := path, os.O_WRONLY
	if !v.isBlock() {
		file, flags = filepath.Join(path, dataName+".new"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC
	}
	f, err := os.OpenFile(file, flags, 0o600)
	if err != nil {
		return err
	}
	b := content(number, v.isBlock())
	d[contentOf{number, v.isBlock()}] = sha256.Sum256(b)
	_, err = f.Write(b)
	if sync || v.isBlock() {
		err = errors.Join(err, f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil || v.isBlock() {
		return err
	}
	if err := os.Rename(file, filepath.Join(path, dataName)); err != nil || !sync {
		return err
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// read says whether the volume at a path holds what it must. What was not written of a block volume
// reads as zeros.
func (d digests) read(path string, v vol) error {
	if v.data.torn != 0 { // a file is replaced as a whole, and of a block volume any part may be new
		either := v
		either.data.written, either.data.torn = v.data.torn, 0
		if d.read(path, either) == nil {
			return nil
		}
		if v.isBlock() {
			v.data.written = v.data.torn
		}
	}
	if !v.isBlock() {
		path = filepath.Join(path, dataName)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && v.data.written == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r := &counted{from: f}
	if v.data.written != 0 {
		hash := sha256.New()
		if _, err := io.CopyBuffer(hash, io.LimitReader(r, contentBytes(v.data.written, v.isBlock())), make([]byte, pieceBytes)); err != nil {
			return err
		}
		if !v.isBlock() || v.data.torn == 0 {
			if d.of(v.data.written, v.isBlock()) != [sha256.Size]byte(hash.Sum(nil)) {
				return fmt.Errorf("%s does not hold content %d", path, v.data.written)
			}
		}
	}
	want := r.bytes
	if v.isBlock() {
		want = int64(v.size)
		if err := zeros(r); err != nil {
			return fmt.Errorf("%s behind what was written: %w", path, err)
		}
	}
	if size, err := f.Seek(0, io.SeekEnd); err != nil || size != want {
		return fmt.Errorf("%s has %d bytes, and must have %d (%w)", path, size, want, err)
	}
	return nil
}

// pieceBytes is how much is read at once. With the race detector a larger buffer is slower.
const pieceBytes = 256 << 10

// counted counts what is read.
type counted struct {
	from  io.Reader
	bytes int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	c.bytes += int64(n)
	return n, err
}

// zeros says whether there is nothing but zeros to read.
func zeros(r io.Reader) error {
	for b := make([]byte, pieceBytes); ; {
		n, err := r.Read(b)
		if bytes.Count(b[:n], []byte{0}) != n {
			return errors.New("not all reads as zeros")
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// thawPatience is how long after a snapshot a file system may still be frozen. It is less than the
// watchdog waits for a driver that says nothing, so that one that only ran out of patience is noticed.
const thawPatience = 8 * time.Second

// breathes says whether the file system mounted at a path takes writes.
func breathes(path string) error {
	done := make(chan error, 1)
	go func() {
		file := filepath.Join(path, "breath")
		f, err := os.Create(file)
		if err == nil {
			_, err = f.WriteString("x")
			err = errors.Join(err, f.Close(), os.Remove(file)) // not synced: that may take long, and a frozen one makes no file
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(thawPatience):
		return fmt.Errorf("the file system at %s is still frozen after %s", path, thawPatience)
	}
}
