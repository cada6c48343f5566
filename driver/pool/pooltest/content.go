package pooltest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// write attaches the volume, writes the text at the offset through the device, syncs, and detaches.
func (e *env) write(name, text string, offset volume.Size) {
	e.Helper()
	device := e.attach(name)
	e.writeDevice(device, text, offset)
	e.detach(name)
}

func (e *env) writeDevice(device, text string, offset volume.Size) {
	e.Helper()
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	e.ok("open the device", err)
	_, err = f.WriteAt([]byte(text), int64(offset))
	e.ok("write to "+device, err)
	if err := f.Sync(); err != nil && !errors.Is(err, fs.ErrInvalid) {
		e.Fatalf("sync %s: %v", device, err)
	}
	e.ok("close "+device, f.Close())
}

// holds fails the test unless the volume reads as the text at the offset and as zeros elsewhere.
func (e *env) holds(name, text string, offset volume.Size) {
	e.Helper()
	device := e.attach(name)
	got := e.read(device)
	e.detach(name)
	if want := e.get(name).Size; volume.Size(len(got)) != want {
		e.Errorf("device of %s has %d bytes, the volume %d", name, len(got), want)
	}
	want := make([]byte, len(got))
	copy(want[offset:], text)
	if !bytes.Equal(got, want) {
		e.Errorf("%s does not hold %q at %d and zeros elsewhere (first difference at %d)", name, text, offset, differsAt(got, want))
	}
}

func (e *env) read(device string) []byte {
	e.Helper()
	f, err := os.Open(device)
	e.ok("open the device", err)
	defer f.Close() //nolint:errcheck // only read
	got, err := io.ReadAll(f)
	e.ok("read "+device, err)
	return got
}

func differsAt(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// isBlockDevice tells a real device, which the kernel guards, from a file that stands for one.
func isBlockDevice(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&fs.ModeDevice != 0
}

// blocks fails the test unless the attached device of a volume has the logical blocks that the volume says.
func (e *env) blocks(name string) {
	e.Helper()
	v := e.get(name)
	if !isBlockDevice(v.Device) || v.BlockBytes == 0 {
		return // a file that stands for a device has none; 0: not recorded
	}
	if has, err := host.BlockBytes(v.Device); err != nil || has != v.BlockBytes {
		e.Errorf("%s of %s has logical blocks of %d bytes (%v), and the volume says %d", v.Device, name, has, err, v.BlockBytes)
	}
}

// fill writes the whole device with what is not zero, and syncs it.
func (e *env) fill(device string) {
	e.Helper()
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	e.ok("open the device", err)
	end, err := f.Seek(0, io.SeekEnd)
	e.ok("size of "+device, err)
	block := bytes.Repeat([]byte("loam"), int(volume.MiB)/4)
	for at := int64(0); at < end; at += int64(len(block)) {
		_, err := f.WriteAt(block[:min(int64(len(block)), end-at)], at)
		e.ok("fill "+device, err)
	}
	e.ok("sync "+device, f.Sync())
	e.ok("close "+device, f.Close())
}
