package loop_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/volume"
)

// pool opens a pool for one test, with its own file system unless c says otherwise.
func newPool(t *testing.T, c loop.Config) (*loop.Pool, loop.Config) {
	t.Helper()
	hosttest.NeedsRoot(t)
	if c.Directory == "" {
		c.Directory = t.TempDir()
	}
	if c.SizeBytes == 0 {
		c.SizeBytes = 512 * volume.MiB
	}
	c.Create = true
	p := open(t, c)
	t.Cleanup(func() { closeAll(t, p) })
	return p, c
}

func id(name string) volume.ID { return volume.ID{Node: node, Pool: "fast", Name: name} }

func create(t *testing.T, p *loop.Pool, name string, bytes volume.Size) volume.Volume {
	t.Helper()
	v, err := p.Create(t.Context(), volume.Spec{ID: id(name), Size: volume.Range{RequiredBytes: bytes}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func attach(t *testing.T, p *loop.Pool, name string, readOnly bool) string {
	t.Helper()
	device, err := p.Attach(t.Context(), id(name), readOnly)
	if err != nil {
		t.Fatal(err)
	}
	return device
}

func detach(t *testing.T, p *loop.Pool, name string) {
	t.Helper()
	if err := p.Detach(t.Context(), id(name)); err != nil {
		t.Fatal(err)
	}
}

func blocks(t *testing.T, path string) (size, allocated volume.Size) {
	t.Helper()
	size, allocated, err := host.Allocated(path)
	if err != nil {
		t.Fatal(err)
	}
	return size, allocated
}

func TestSecondOpenIsRefused(t *testing.T) {
	_, c := newPool(t, loop.Config{})
	second, err := loop.Open(t.Context(), "fast", node, c, host.New(host.NewRunner()))
	if !volume.Is(err, volume.Unavailable) {
		t.Fatalf("a second Open answered %v, %v", second, err)
	}
	inspected, err := loop.Inspect(t.Context(), "fast", node, c, host.New(host.NewRunner()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inspected.Status(t.Context()); err != nil {
		t.Error(err)
	}
	if err := inspected.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatACrashLeftHalfMadeIsGoneAfterOpen(t *testing.T) {
	hosttest.NeedsRoot(t)
	c := loop.Config{Directory: t.TempDir(), SizeBytes: 512 * volume.MiB}
	p := open(t, c)
	create(t, p, "whole", 8*volume.MiB)
	free, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(c.Directory, "mounted")
	for _, dir := range []string{"volume-a", "deleted-volume-b", "group-g/member"} {
		dir := filepath.Join(root, "new", dir)
		run(t, "mkdir", "-p", dir)
		run(t, "fallocate", "--length=16M", filepath.Join(dir, "image"))
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	// A file system that was being made, too, with its device.
	made := filepath.Join(c.Directory, "filesystem.new")
	run(t, "truncate", "--size=400M", made)
	run(t, "losetup", "--find", made)
	run(t, "mv", filepath.Join(c.Directory, "filesystem"), filepath.Join(c.Directory, "kept"))
	p = open(t, c)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, "mv", filepath.Join(c.Directory, "kept"), filepath.Join(c.Directory, "filesystem"))

	p = open(t, c)
	t.Cleanup(func() { closeAll(t, p) })
	left, err := os.ReadDir(filepath.Join(root, "new"))
	if err != nil || len(left) != 0 {
		t.Errorf("in new are %v, %v", left, err)
	}
	volumes, err := p.List(t.Context(), "", 0)
	if err != nil || len(volumes) != 1 || volumes[0].ID != id("whole") {
		t.Errorf("List answered %v, %v", volumes, err)
	}
	if now, err := p.Status(t.Context()); err != nil || now.FreeBytes < free.FreeBytes-2*volume.MiB {
		t.Errorf("%d bytes are free, %d were (%v)", now.FreeBytes, free.FreeBytes, err)
	}
}

func TestPreallocatedImageHasAllItsBlocksAndGetsThemBack(t *testing.T) {
	p, c := newPool(t, loop.Config{})
	create(t, p, "a", 32*volume.MiB)
	image := filepath.Join(c.Directory, "mounted", "volumes", "a", "image")
	device := attach(t, p, "a", false)
	run(t, "mkfs.ext4", "-q", device)
	run(t, "blkdiscard", "--force", device) // as fstrim does
	if _, err := p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 48 * volume.MiB}); err != nil {
		t.Fatal(err)
	}
	detach(t, p, "a")
	attach(t, p, "a", false)
	detach(t, p, "a")
	if size, allocated := blocks(t, image); size != 48*volume.MiB || allocated < size {
		t.Errorf("the image is %s and has %s", size, allocated)
	}
}

func TestSparseImageTakesBlocksWhenWrittenAndGivesThemBack(t *testing.T) {
	p, c := newPool(t, loop.Config{Sparse: true})
	create(t, p, "a", 32*volume.MiB)
	image := filepath.Join(c.Directory, "mounted", "volumes", "a", "image")
	if size, allocated := blocks(t, image); size != 32*volume.MiB || allocated > volume.MiB {
		t.Errorf("the new image is %s and has %s", size, allocated)
	}
	device := attach(t, p, "a", false)
	run(t, "dd", "if=/dev/zero", "of="+device, "bs=1M", "count=16", "oflag=direct", "status=none")
	if _, allocated := blocks(t, image); allocated < 16*volume.MiB {
		t.Errorf("the written image has %s", allocated)
	}
	run(t, "blkdiscard", device)
	if _, allocated := blocks(t, image); allocated > volume.MiB {
		t.Errorf("the discarded image has %s", allocated)
	}
	detach(t, p, "a")
}

func TestReadOnlyDoesNotStickToADevice(t *testing.T) {
	p, _ := newPool(t, loop.Config{})
	create(t, p, "a", 8*volume.MiB)
	other := filepath.Join(t.TempDir(), "file")
	run(t, "truncate", "--size=1M", other)
	var device string
	for attempts := 20; ; attempts-- {
		device = attach(t, p, "a", false)
		run(t, "blockdev", "--setro", device)
		detach(t, p, "a")
		attach(t, p, "a", true)
		detach(t, p, "a")
		// Whoever gets it next, it need not be loam: here another test of this machine may be quicker.
		out, err := exec.Command("losetup", device, other).CombinedOutput()
		if err == nil {
			break
		}
		if attempts == 0 {
			t.Fatalf("losetup %s: %v: %s", device, err, out)
		}
	}
	readOnly := run(t, "blockdev", "--getro", device)
	run(t, "losetup", "--detach", device)
	if readOnly != "0" {
		t.Errorf("%s is left read-only", device)
	}
	again := attach(t, p, "a", false)
	f, err := os.OpenFile(again, os.O_RDWR, 0)
	if err == nil {
		_, err = f.WriteAt(make([]byte, 4096), 0)
		_ = f.Close()
	}
	if err != nil {
		t.Errorf("%s, which was %s, refuses a write: %v", again, device, err)
	}
	detach(t, p, "a")
}

func TestDirectIOIsUsed(t *testing.T) {
	p, _ := newPool(t, loop.Config{})
	create(t, p, "a", 8*volume.MiB)
	device := attach(t, p, "a", false)
	defer detach(t, p, "a")
	if text, err := os.ReadFile("/sys/block/" + filepath.Base(device) + "/loop/dio"); err != nil || string(text) != "1\n" {
		t.Errorf("direct I/O of %s is %q, %v", device, text, err)
	}
}

func TestAnOpenDeviceIsInUseAndStays(t *testing.T) {
	p, _ := newPool(t, loop.Config{})
	create(t, p, "a", 8*volume.MiB)
	device := attach(t, p, "a", false)
	f, err := os.Open(device) // without O_EXCL, so the kernel would only make a note to detach it
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Detach(t.Context(), id("a")); !volume.Is(err, volume.InUse) {
		t.Errorf("Detach of an open device: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if v, err := p.Get(t.Context(), id("a")); err != nil || v.Device != device {
		t.Errorf("after a refused Detach, Get answered %v, %v", v, err)
	}
	detach(t, p, "a")
}

// Where the node of a device is bound, the next volume that gets the device would appear.
func TestABoundDeviceIsInUse(t *testing.T) {
	p, _ := newPool(t, loop.Config{})
	create(t, p, "a", 8*volume.MiB)
	device := attach(t, p, "a", false)
	target := filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	machine := host.New(host.NewRunner())
	if err := machine.Bind(t.Context(), device, target, false); err != nil {
		t.Fatal(err)
	}
	if err := p.Detach(t.Context(), id("a")); !volume.Is(err, volume.InUse) {
		t.Errorf("Detach of a bound device: %v", err)
	}
	if err := machine.Unmount(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	detach(t, p, "a")
}
