package fault_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/scratch"
)

const chunkBytes = 64 << 10 // of the thin pools here

// chunks is a device that is written in chunks, each with a number in it.
type chunks struct {
	file  *os.File
	holds map[int64]uint64 // what was acknowledged last, by chunk
	next  uint64
}

func openChunks(device string) (*chunks, error) {
	file, err := os.OpenFile(device, os.O_RDWR|unix.O_DSYNC, 0)
	return &chunks{file: file, holds: map[int64]uint64{}}, err
}

// content is aligned in memory as O_DIRECT would want it, and differs for each number.
func content(number uint64) []byte {
	return bytes.Repeat(binary.LittleEndian.AppendUint64(nil, number), chunkBytes/8)
}

// write writes a chunk. It is acknowledged when that ends without an error.
func (c *chunks) write(at int64) error {
	c.next++
	_, err := c.file.WriteAt(content(c.next), at*chunkBytes)
	if err == nil {
		err = c.file.Sync() // an error of an earlier write is told here
	}
	if err == nil {
		c.holds[at] = c.next
	} else {
		delete(c.holds, at) // either of the two may be there
	}
	return err
}

// lost reads what was acknowledged from the disk, and counts what is not there.
func (c *chunks) lost() (lost int, err error) {
	if err := unix.Fadvise(int(c.file.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return 0, err
	}
	have := make([]byte, chunkBytes)
	for at, number := range c.holds {
		if _, err := c.file.ReadAt(have, at*chunkBytes); err != nil || !bytes.Equal(have, content(number)) {
			lost++
		}
	}
	return lost, nil
}

// TestThinDataFull writes to thin volumes that were promised more than there is, until nothing more fits.
func TestThinDataFull(t *testing.T) {
	d := newDisk(t, "loamfaulty0", scratch.Disks(t, 1)[0], volume.GiB)
	group(t, d)
	makeThinPool(t, "64m", "8m")
	queueShortly(t)
	m := newMachine(t, lvm.Config{ThinPool: "thin", Space: config.Space{Overprovision: 4}})
	ctx := t.Context()
	for _, name := range []string{"a", "b"} {
		m.ok("create", m.create(ctx, name, 96*volume.MiB, blockAccess, nil))
	}
	device, err := m.attach(ctx, "a")
	m.ok("attach", err)
	c, err := openChunks(device)
	m.ok("open", err)
	defer c.file.Close()
	refused := c.fill(0, 96<<20/chunkBytes)
	if refused == nil {
		t.Fatal("96 MiB fit into 64 MiB")
	}
	acknowledged := len(c.holds)
	t.Logf("full after %d chunks of 64 KiB: %v", acknowledged, refused)
	m.isFull(ctx, "data")
	m.loses(c, 0)
	lvmCommand(t, "lvextend", "--size", "+128m", groupName+"/thin")
	if err := c.fill(int64(acknowledged), 96<<20/chunkBytes); err != nil {
		t.Errorf("after the pool was extended: %v", err)
	}
	if s := m.status(); !s.Healthy {
		t.Errorf("after the pool was extended Status answered %+v", s)
	}
	lost := m.loses(c, 0)
	m.ok("close", c.file.Close())
	m.goesOn(ctx)
	t.Logf("count: thin data full: %d writes acknowledged before, %d after the pool was extended, lost %d, leaked %d", acknowledged, len(c.holds)-acknowledged, lost, len(m.left()))
}

// queueShortly has every full thin pool of this machine refuse what does not fit after a second, and not after a minute.
// It skips the test outside of a VM, where there may be thin pools of others.
func queueShortly(t *testing.T) {
	t.Helper()
	if os.Getenv("LOAM_TEST_BOOT") == "" {
		t.Skip("changes a setting of all thin pools of the machine: it runs in a VM only")
	}
	const path = "/sys/module/dm_thin_pool/parameters/no_space_timeout"
	before, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte("1"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(path, before, 0o600); err != nil {
			t.Error(err)
		}
	})
}

// fill writes chunks until one is refused.
func (c *chunks) fill(from, to int64) error {
	for at := from; at < to; at++ {
		if err := c.write(at); err != nil {
			return err
		}
	}
	return nil
}

// loses counts what was acknowledged and is not there any more.
func (m *machine) loses(c *chunks, want int) int {
	m.Helper()
	lost, err := c.lost()
	if err != nil || lost != want {
		m.Errorf("of %d chunks that were acknowledged %d are lost, %v", len(c.holds), lost, err)
	}
	return lost
}

// isFull wants the driver to say what is full, and to make nothing more.
func (m *machine) isFull(ctx context.Context, what string) {
	m.Helper()
	if s := m.status(); s.Healthy || s.FreeBytes != 0 || !strings.Contains(s.Message, "thin pool") {
		m.Errorf("%s is full, and Status answered %+v", what, s)
	} else {
		m.Logf("Status says: %s", s.Message)
	}
	err := m.create(ctx, "c", 8*volume.MiB, blockAccess, nil)
	if says := status.Convert(err); says.Code() != codes.ResourceExhausted || !strings.Contains(says.Message(), poolName) {
		m.Errorf("%s is full, and CreateVolume ended with %v", what, err)
	} else {
		m.Logf("CreateVolume says: %s", says.Message())
	}
	if err := m.snapshot(ctx, "s", "a"); status.Code(err) != codes.ResourceExhausted {
		m.Errorf("%s is full, and CreateSnapshot ended with %v", what, err)
	}
}

// goesOn sees that all works again, and takes it away.
func (m *machine) goesOn(ctx context.Context) {
	m.Helper()
	m.ok("snapshot", m.snapshot(ctx, "s", "b"))
	m.ok("restore", m.create(ctx, "c", 96*volume.MiB, blockAccess, ofSnapshot("s")))
	m.ok("delete the snapshot", m.deleteSnapshot(ctx, "s"))
	for _, name := range []string{"a", "b", "c"} {
		m.ok("detach", m.detach(ctx, name))
		m.ok("delete", m.delete(ctx, name))
	}
	if left := m.left(); len(left) > 0 {
		m.Errorf("left are %q", left)
	}
}

// TestThinMetadataFull has somebody else's volume in the same thin pool use up its metadata, which what the driver
// promises cannot do.
func TestThinMetadataFull(t *testing.T) {
	d := newDisk(t, "loamfaulty0", scratch.Disks(t, 1)[0], 3*volume.GiB)
	group(t, d)
	makeThinPool(t, "1g", "2m")
	m := newMachine(t, lvm.Config{ThinPool: "thin"})
	ctx := t.Context()
	for _, name := range []string{"a", "b"} {
		m.ok("create", m.create(ctx, name, 96*volume.MiB, blockAccess, nil))
	}
	device, err := m.attach(ctx, "a")
	m.ok("attach", err)
	c, err := openChunks(device)
	m.ok("open", err)
	defer c.file.Close()
	m.ok("write", c.fill(0, 256))
	foreign, err := useUpMetadata(t)
	if err == nil {
		t.Fatal("the metadata does not become full")
	}
	t.Logf("full after %d chunks of somebody else: %v", foreign, err)
	for at := int64(256); err == nil && at < 96<<20/chunkBytes; at++ {
		err = c.write(at)
	}
	m.isFull(ctx, "metadata")
	m.loses(c, 0)
	lvmCommand(t, "lvextend", "--poolmetadatasize", "+6m", groupName+"/thin")
	if s := m.status(); !s.Healthy {
		t.Errorf("after the metadata was extended Status answered %+v", s)
	}
	acknowledged := len(c.holds)
	m.ok("write after the metadata was extended", c.fill(512, 768))
	lost := m.loses(c, 0)
	m.ok("close", c.file.Close())
	lvmCommand(t, "lvremove", "--force", "--select", `lv_name=~"^foreign"`, groupName)
	m.goesOn(ctx)
	t.Logf("count: thin metadata full: %d writes acknowledged before, %d after it was extended, lost %d, leaked %d", acknowledged, len(c.holds)-acknowledged, lost, len(m.left()))
}

// useUpMetadata has snapshots of a volume that is not the driver's unshare their trees leaf by leaf, until the
// pool takes no more. LVM itself makes none any more when the metadata is three quarters full, so they are made
// before.
func useUpMetadata(t *testing.T) (written int, err error) {
	t.Helper()
	const size, leaf, snapshots = 384 << 20 / chunkBytes, 60, 26 // chunks of the volume, and fewer than one leaf of a tree has
	lvmCommand(t, "lvcreate", "--yes", "--type", "thin", "--virtualsize", "384m", "--thinpool", "thin", "--name", "foreign", groupName)
	device := "/dev/" + groupName + "/foreign"
	for i := range snapshots + 1 {
		if i > 0 {
			device = fmt.Sprintf("/dev/%s/foreign%d", groupName, i)
		}
		c, err := openChunks(device)
		if err != nil {
			t.Fatal(err)
		}
		defer c.file.Close()
		step := int64(leaf)
		if i == 0 {
			step = 1
		}
		for at := int64(0); at < size; at += step {
			if err := c.write(at); err != nil {
				return written, err
			}
			written++
		}
		for n := range snapshots {
			if i == 0 {
				lvmCommand(t, "lvcreate", "--yes", "--snapshot", "--setactivationskip", "n", "--activate", "y", "--name", fmt.Sprintf("foreign%d", n+1), groupName+"/foreign")
			}
		}
	}
	return written, nil
}

// repair detaches all volumes, so that the next attach has the thin pool checked, and taken for well if it is, as docs/lvm.md
// says.
func (m *machine) repair(ctx context.Context) {
	m.Helper()
	volumes, err := m.pool.List(ctx, "", 0)
	m.ok("list", err)
	for _, v := range volumes {
		if _, err := os.Stat(m.staging(v.ID.Name)); err == nil {
			m.ok("unstage", m.unstage(ctx, v.ID.Name))
		}
		m.ok("detach", m.detach(ctx, v.ID.Name))
	}
}
