package host

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
)

func TestDirectReadsAnywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	content := bytes.Repeat([]byte("0123456789abc"), 1000)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDirect(path)
	if errors.Is(err, unix.EINVAL) {
		t.Skip("SKIPPED: the file system of TMPDIR does no direct I/O")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, at := range []struct{ offset, n int }{{0, 1}, {0, 4096}, {4096, 4096}, {1, 4096}, {4095, 2}, {5000, 8000}, {12000, 1000}} {
		b := make([]byte, at.n)
		if n, err := d.ReadAt(b, int64(at.offset)); n != at.n || err != nil || !bytes.Equal(b, content[at.offset:at.offset+at.n]) {
			t.Errorf("%d bytes at %d: %d, %v", at.n, at.offset, n, err)
		}
	}
	for _, at := range []struct{ offset, n, want int }{{12500, 1000, 500}, {13000, 1, 0}, {20000, 1, 0}} {
		if n, err := d.ReadAt(make([]byte, at.n), int64(at.offset)); n != at.want || !errors.Is(err, io.EOF) {
			t.Errorf("%d bytes at %d, beyond the end: %d, %v", at.n, at.offset, n, err)
		}
	}
	if _, err := OpenDirect(path + ".none"); !volume.Is(err, volume.NotFound) && !volume.Is(err, volume.Internal) {
		t.Errorf("a file that is not there: %v", err)
	}
}
