package fault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/scratch"
)

// TestALostLegOfARAID writes to a mounted volume on two disks without a pause, while one of them is lost, the loss is
// repaired as docs/lvm.md says, and then the other one is lost.
func TestALostLegOfARAID(t *testing.T) {
	blank := scratch.Disks(t, 3)
	var disks []*disk
	for i := range 3 {
		disks = append(disks, newDisk(t, fmt.Sprintf("loamfaulty%d", i), blank[i], 512*volume.MiB))
	}
	group(t, disks[0], disks[1])
	t.Cleanup(func() { // of the one that the group gets later
		_ = scratch.Run("wipefs", "--all", "--force", "--quiet", disks[2].path())
	})
	m := newMachine(t, lvm.Config{Type: lvm.RAID1})
	ctx := t.Context()
	m.ok("create", m.create(ctx, "v", smallBytes, mountAccess, nil))
	m.ok("stage", m.stage(ctx, "v"))
	m.synced("loam.fast.v.v")
	w := m.writes("v")

	w.more(t, 20)
	disks[1].fail(gone)
	w.more(t, 20)
	m.isDegraded(ctx)
	w.more(t, 20)
	// As docs/lvm.md says.
	lvmCommand(t, "vgextend", "--yes", groupName, disks[2].path())
	lvmCommand(t, "lvconvert", "--yes", "--repair", groupName+"/loam.fast.v.v")
	lvmCommand(t, "vgreduce", "--removemissing", groupName)
	if s := m.status(); !s.Healthy {
		t.Errorf("after the repair Status answered %+v", s)
	}
	m.ok("create after the repair", m.create(ctx, "w", 8*volume.MiB, blockAccess, nil))
	m.ok("delete after the repair", m.delete(ctx, "w"))
	m.synced("loam.fast.v.v")
	w.more(t, 20)
	disks[0].fail(gone)
	w.more(t, 20)
	m.isDegraded(ctx)
	written, lost := w.end(t)
	m.ok("unstage", m.unstage(ctx, "v"))
	disks[0].heal()
	disks[1].heal()
	lvmCommand(t, "vgreduce", "--removemissing", "--force", groupName)
	t.Logf("count: RAID: 2 legs lost and 1 repaired under %d writes, each synced and read back, 0 errors, lost %d", written, lost)
}

// isDegraded wants the driver to say that a disk is lost, and to change nothing.
func (m *machine) isDegraded(ctx context.Context) {
	m.Helper()
	if s := m.status(); s.Healthy || !strings.Contains(s.Message, "disk") || s.LargestBytes != 0 {
		m.Errorf("a disk is lost, and Status answered %+v", s)
	} else {
		m.Logf("Status says: %s", s.Message)
	}
	if err := m.create(ctx, "w", 8*volume.MiB, blockAccess, nil); status.Code(err) != codes.Unavailable {
		m.Errorf("a disk is lost, and CreateVolume ended with %v", err)
	}
}

// synced waits until all legs of a volume have the same.
func (m *machine) synced(name string) {
	m.Helper()
	for deadline := time.Now().Add(patience); ; <-time.After(100 * time.Millisecond) {
		percent := lvmCommand(m.T, "lvs", "--noheadings", "-o", "sync_percent", groupName+"/"+name)
		if percent == "100.00" {
			return
		}
		if time.Now().After(deadline) {
			m.Fatalf("%s is synced up to %s %%", name, percent)
		}
	}
}

// writer writes to a file system without a pause.
type writer struct {
	path  string
	count atomic.Int64
	stop  chan struct{}
	ended chan error
}

const pieceBytes = 64 << 10

func (m *machine) writes(name string) *writer {
	w := &writer{path: filepath.Join(m.staging(name), "data"), stop: make(chan struct{}), ended: make(chan error, 1)}
	go func() { w.ended <- w.run() }()
	return w
}

func (w *writer) run() error {
	file, err := os.Create(w.path)
	if err != nil {
		return err
	}
	defer file.Close()
	for {
		select {
		case <-w.stop:
			return nil
		default:
		}
		if err := w.one(file, w.count.Load()); err != nil {
			return err
		}
		w.count.Add(1)
	}
}

const pieces = 64 // in the file; then it begins again

// one writes a piece, syncs it, and reads it from the disk.
func (w *writer) one(file *os.File, number int64) error {
	at, piece := number%pieces*pieceBytes, bytes.Repeat([]byte{byte(number), byte(number >> 8)}, pieceBytes/2)
	if _, err := file.WriteAt(piece, at); err != nil {
		return err
	}
	if err := errors.Join(file.Sync(), unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
		return err
	}
	have := make([]byte, pieceBytes)
	if _, err := file.ReadAt(have, at); err != nil || !bytes.Equal(have, piece) {
		return fmt.Errorf("write %d was synced, and is not what is read (%w)", number, err)
	}
	return nil
}

// more waits until so many more writes are done.
func (w *writer) more(t *testing.T, n int64) {
	t.Helper()
	until := w.count.Load() + n
	for deadline := time.Now().Add(patience); w.count.Load() < until; <-time.After(10 * time.Millisecond) {
		select {
		case err := <-w.ended:
			t.Fatalf("the writer ended after %d writes: %v", w.count.Load(), err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("the writer hangs after %d writes", w.count.Load())
		}
	}
}

// end stops the writer and reads all of the file.
func (w *writer) end(t *testing.T) (written, lost int64) {
	t.Helper()
	close(w.stop)
	if err := <-w.ended; err != nil {
		t.Errorf("the writer ended with %v", err)
	}
	file, err := os.Open(w.path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	written = w.count.Load()
	have := make([]byte, pieceBytes)
	for number := max(0, written-pieces); number < written; number++ {
		at, piece := number%pieces*pieceBytes, bytes.Repeat([]byte{byte(number), byte(number >> 8)}, pieceBytes/2)
		if _, err := io.ReadFull(io.NewSectionReader(file, at, pieceBytes), have); err != nil || !bytes.Equal(have, piece) {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d pieces that were synced are not there", lost)
	}
	return written, lost
}
