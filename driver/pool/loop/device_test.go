package loop_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/volume"
)

func imageOf(c loop.Config, name string) string {
	return filepath.Join(c.Directory, "mounted", "volumes", name, "image")
}

// inUse fails the test unless err is InUse and says what is to be said.
func inUse(t *testing.T, what string, err error, says string) {
	t.Helper()
	if !volume.Is(err, volume.InUse) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: got error %v of kind %s, want InUse that says %q", what, err, volume.KindOf(err), says)
	}
}

// refusesAll fails the test unless everything that would use the volume is refused and names the device.
func refusesAll(t *testing.T, p *loop.Pool, name, says string) {
	t.Helper()
	_, err := p.Attach(t.Context(), id(name), false)
	inUse(t, "Attach", err, says)
	_, err = p.Expand(t.Context(), id(name), volume.Range{RequiredBytes: 64 * volume.MiB})
	inUse(t, "Expand", err, says)
	_, err = p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id(name)}})
	inUse(t, "CreateSnapshot", err, says)
	_, err = p.Create(t.Context(), volume.Spec{ID: id("clone"), Source: &volume.Source{Kind: volume.FromVolume, ID: id(name)}})
	inUse(t, "Create of a clone", err, says)
	inUse(t, "Delete", p.Delete(t.Context(), id(name)), "")
	v, err := p.Get(t.Context(), id(name))
	if err != nil || v.Usable() == nil || v.Size != 32*volume.MiB {
		t.Errorf("Get answered %+v, %v", v, err)
	}
	listed, err := p.List(t.Context(), "", 0)
	if err != nil || len(listed) != 1 || listed[0].Usable() == nil {
		t.Errorf("List answered %+v, %v", listed, err)
	}
}

// losetup makes a loop device as an administrator does, until gone is called.
func losetup(t *testing.T, image string, options ...string) (device string, gone func()) {
	t.Helper()
	device = strings.TrimSpace(run(t, "losetup", append(append([]string{"--find", "--show"}, options...), image)...))
	return device, func() {
		run(t, "losetup", "--detach", device)
		for until := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // who looks at it keeps it a moment
			// The number may have another file at once.
			text, err := os.ReadFile("/sys/block/" + filepath.Base(device) + "/loop/backing_file")
			if err != nil || strings.TrimSpace(string(text)) != image || time.Now().After(until) {
				return
			}
		}
	}
}

// The second of two devices of one image knows nothing of what is written through the first, so it is never used,
// and nothing is done to the image that the second is not known to bear.
func TestASecondDeviceOfAnImageIsRefusedByName(t *testing.T) {
	p, c := newPool(t, loop.Config{})
	create(t, p, "a", 32*volume.MiB)
	image, device := imageOf(c, "a"), attach(t, p, "a", false)
	run(t, "mkfs.ext4", "-q", device)
	for _, options := range [][]string{{}, {"--sector-size=4096"}, {"--read-only"}, {"--offset=4096"}} {
		other, gone := losetup(t, image, options...)
		refusesAll(t, p, "a", other)
		if v, err := p.Get(t.Context(), id("a")); err != nil || len(options) > 0 && options[0] == "--offset=4096" && v.Device != device {
			t.Errorf("Get answered %+v, %v", v, err)
		}
		gone()
		if again := attach(t, p, "a", false); again != device {
			t.Errorf("attached as %s, and when the other had gone as %s", device, again)
		}
	}
	// As mount(8) does it with an option "loop": a device of the device.
	dir := t.TempDir()
	run(t, "mount", "-o", "loop", device, dir)
	refusesAll(t, p, "a", "/dev/loop")
	inUse(t, "Detach", p.Detach(t.Context(), id("a")), "/dev/loop")
	run(t, "umount", dir)
	// As the kubelet does it for each block volume, to know its device by.
	_, gone := losetup(t, device)
	if again := attach(t, p, "a", false); again != device {
		t.Errorf("attached as %s, and beside the kubelet's device as %s", device, again)
	}
	gone()
	second, _ := losetup(t, image)
	run(t, "mount", second, dir)
	refusesAll(t, p, "a", "/dev/loop")
	inUse(t, "Detach", p.Detach(t.Context(), id("a")), "/dev/loop")
	refusesAll(t, p, "a", "/dev/loop") // its own has gone, the other is still mounted
	run(t, "umount", dir)
	detach(t, p, "a")
	if v, err := p.Get(t.Context(), id("a")); err != nil || v.Attached() || v.Usable() != nil {
		t.Errorf("Get answered %+v, %v", v, err)
	}
	attach(t, p, "a", false)
	detach(t, p, "a")
}

// A device that is not set up as Attach does it is not taken for the volume.
func TestADeviceThatIsSetUpOtherwiseIsRefusedByName(t *testing.T) {
	p, c := newPool(t, loop.Config{})
	create(t, p, "a", 32*volume.MiB)
	for _, options := range [][]string{{"--sector-size=512"}, {"--sector-size=4096", "--offset=4096"}, {"--sector-size=4096", "--sizelimit=1048576"}, {"--sector-size=4096", "--partscan"}} {
		device, _ := losetup(t, imageOf(c, "a"), options...)
		refusesAll(t, p, "a", device)
		detach(t, p, "a") // nobody uses it
		if v, err := p.Get(t.Context(), id("a")); err != nil || v.Attached() {
			t.Errorf("Get answered %+v, %v", v, err)
		}
	}
	// One that is as it should be is.
	device, _ := losetup(t, imageOf(c, "a"), "--sector-size=4096", "--direct-io=on")
	if got := attach(t, p, "a", false); got != device {
		t.Errorf("there was %s, and Attach made %s", device, got)
	}
	detach(t, p, "a")
}

// An image that somebody has cut is smaller than its device, and what is behind its end cannot be written.
func TestADeviceThatIsLargerThanItsImageIsRefusedByName(t *testing.T) {
	p, c := newPool(t, loop.Config{})
	create(t, p, "a", 64*volume.MiB)
	device := attach(t, p, "a", false)
	run(t, "truncate", "--size=32M", imageOf(c, "a"))
	refusesAll(t, p, "a", device)
	detach(t, p, "a")
	attach(t, p, "a", false)
	detach(t, p, "a")
}

func TestAVolumeKeepsTheLogicalBlocksThatItWasMadeWith(t *testing.T) {
	p, _ := newPool(t, loop.Config{})
	for _, block := range []volume.Size{512, 1024, 2048, 4096} {
		name := "b" + strings.TrimSuffix(block.String(), "iB")
		name = strings.ReplaceAll(name, ".", "-")
		spec := volume.Spec{ID: id(name), Size: volume.Range{RequiredBytes: 32 * volume.MiB}, BlockBytes: block}
		if v, err := p.Create(t.Context(), spec); err != nil || v.BlockBytes != block {
			t.Fatalf("Create answered %+v, %v", v, err)
		}
		_, err := p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s-" + name), Volumes: []volume.ID{id(name)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Delete(t.Context(), id(name)); err != nil {
			t.Fatal(err)
		}
		spec = volume.Spec{ID: id(name), Source: &volume.Source{Kind: volume.FromSnapshot, ID: id("s-" + name)}}
		if v, err := p.Create(t.Context(), spec); err != nil || v.BlockBytes != block {
			t.Fatalf("Create of the snapshot answered %+v, %v", v, err)
		}
		for range 2 {
			if got, err := host.BlockBytes(attach(t, p, name, false)); err != nil || got != block {
				t.Errorf("a volume of blocks of %d has a device of %d (%v)", block, got, err)
			}
			detach(t, p, name)
		}
	}
	large := volume.Size(2 * os.Getpagesize())
	_, err := p.Create(t.Context(), volume.Spec{ID: id("large"), BlockBytes: large})
	if !volume.Is(err, volume.Unsupported) {
		t.Errorf("blocks of %d bytes: %v", large, err)
	}
}

// What a release that recorded no size of blocks has made has 4096, as each loop device of it had.
func TestAVolumeWithoutARecordedBlockSizeHasTheOneThatAllHad(t *testing.T) {
	p, c := newPool(t, loop.Config{})
	create(t, p, "a", 32*volume.MiB)
	record := filepath.Join(filepath.Dir(imageOf(c, "a")), "volume.json")
	text, err := os.ReadFile(record)
	if err != nil || !strings.Contains(string(text), `,"blockBytes":4096`) {
		t.Fatalf("the record is %s, %v", text, err)
	}
	if err := os.WriteFile(record, []byte(strings.Replace(string(text), `,"blockBytes":4096`, "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err := p.Get(t.Context(), id("a")); err != nil || v.BlockBytes != 4096 {
		t.Fatalf("Get answered %+v, %v", v, err)
	}
	if got, err := host.BlockBytes(attach(t, p, "a", false)); err != nil || got != 4096 {
		t.Errorf("its device has blocks of %d (%v)", got, err)
	}
	detach(t, p, "a")
	// One that no device can show is refused, and not attached with another.
	for _, size := range []string{"1000", "65536", "256", "-512"} {
		if err := os.WriteFile(record, []byte(strings.Replace(string(text), "4096", size, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if device, err := p.Attach(t.Context(), id("a"), false); err == nil {
			t.Errorf("blocks of %s: attached as %s", size, device)
		}
	}
}

// Two file systems of one file destroy each other, so a pool does not open beside a second device of its own.
func TestAPoolIsNotOpenedWhileItsFileSystemHasASecondDevice(t *testing.T) {
	hosttest.NeedsRoot(t)
	c := loop.Config{Directory: t.TempDir(), SizeBytes: 512 * volume.MiB, Create: true}
	for _, options := range [][]string{{}, {"--sector-size=4096", "--offset=4096"}, {"--sector-size=4096", "--partscan"}, {"--sector-size=4096", "--read-only"}} {
		p := open(t, c)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		device, gone := losetup(t, filepath.Join(c.Directory, "filesystem"), options...)
		_, err := loop.Open(t.Context(), "fast", node, c, host.New(host.NewRunner()))
		inUse(t, "Open", err, device)
		gone()
	}
	p := open(t, c)
	create(t, p, "a", 32*volume.MiB)
	attach(t, p, "a", false) // its file system stays mounted
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	device, gone := losetup(t, filepath.Join(c.Directory, "filesystem"), "--sector-size=4096")
	_, err := loop.Open(t.Context(), "fast", node, c, host.New(host.NewRunner()))
	inUse(t, "Open", err, device)
	gone()
	closeAll(t, open(t, c))
}
