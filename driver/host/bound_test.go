package host_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/volume"
)

// image makes a file that begins with a text.
func image(t *testing.T, text string, size volume.Size) (path string, file host.FileID) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "image")
	f, err := os.Create(path)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Truncate(int64(size)), f.Sync(), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if file, _, err = host.Identify(path); err != nil {
		t.Fatal(err)
	}
	return path, file
}

// attach makes a loop device of a file until the test ends.
func attach(t *testing.T, h *host.Host, path string, file host.FileID, block volume.Size) string {
	t.Helper()
	device, err := h.AttachLoop(t.Context(), path, false, block)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.DetachLoop(context.Background(), device, file, ""); err != nil {
			t.Error(err)
		}
	})
	return device
}

// waitUntilDetached waits for the end of the devices of a file, at which somebody else may be looking. Their numbers may have
// other files at once.
func waitUntilDetached(t *testing.T, h *host.Host, path string, file host.FileID) {
	t.Helper()
	for until := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		loops, _, err := h.LoopsOf(path, file)
		if err == nil && len(loops) == 0 {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%s still has %v (%v)", path, loops, err)
		}
	}
}

// bound binds a device node on a new file until the test ends.
func bound(t *testing.T, h *host.Host, device, owner string) string {
	t.Helper()
	target := filepath.Join(t.TempDir(), "target")
	err := os.WriteFile(target, nil, 0o600)
	if err == nil && owner != "" {
		err = h.SetOwner(target, owner)
	}
	if err == nil {
		err = h.Bind(t.Context(), device, target, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Unmount(context.Background(), target); err != nil {
			t.Error(err)
		}
	})
	return target
}

// The pod that was given a device has a way to its number for as long as the node is bound. The next file must
// not get that number.
func TestALoopDeviceWhoseNodeIsBoundIsPassedOver(t *testing.T) {
	hosttest.NeedsRoot(t)
	h := host.New(host.NewRunner())
	path, file := image(t, "first", volume.MiB)
	first, err := h.AttachLoop(t.Context(), path, false, volume.DefaultBlockBytes)
	if err != nil {
		t.Fatal(err)
	}
	target := bound(t, h, first, "n1/fast/first")
	if err := h.DetachLoop(t.Context(), first, file, "n1/fast/first"); !volume.Is(err, volume.InUse) {
		t.Errorf("DetachLoop while its node is bound: %v", err)
	}
	command(t, "losetup", "--detach", first)
	waitUntilDetached(t, h, path, file)

	for _, text := range []string{"second", "third"} {
		path, file := image(t, text, volume.MiB)
		if device := attach(t, h, path, file, volume.DefaultBlockBytes); device == first {
			t.Errorf("the %s file got %s, whose node is bound at %s", text, device, target)
		}
	}
	// Somebody else on this machine may get the number, but none of these is it.
	if got, err := os.ReadFile(target); err == nil && (strings.HasPrefix(string(got), "second") || strings.HasPrefix(string(got), "third")) {
		t.Errorf("where the first is bound %.10q can be read", got)
	}
}

// A bind that another owner left behind keeps nobody from detaching, and a bind of its own does.
func TestABindOfAnotherOwnerDoesNotKeepADevice(t *testing.T) {
	hosttest.NeedsRoot(t)
	h := host.New(host.NewRunner())
	path, file := image(t, "", volume.MiB)
	device, err := h.AttachLoop(t.Context(), path, false, volume.DefaultBlockBytes)
	if err != nil {
		t.Fatal(err)
	}
	bound(t, h, device, "n1/fast/gone")
	t.Run("bound for nobody in particular", func(t *testing.T) {
		bound(t, h, device, "")
		if err := h.DetachLoop(t.Context(), device, file, "n1/fast/v"); !volume.Is(err, volume.InUse) {
			t.Errorf("DetachLoop: %v", err)
		}
	})
	if err := h.NotHeld(device, "n1/fast/v"); err != nil {
		t.Errorf("NotHeld: %v", err)
	}
	if err := h.DetachLoop(t.Context(), device, file, "n1/fast/v"); err != nil {
		t.Errorf("DetachLoop: %v", err)
	}
}

func TestALoopDeviceHasTheBlocksThatAreAsked(t *testing.T) {
	hosttest.NeedsRoot(t)
	h := host.New(host.NewRunner())
	path, file := image(t, "", volume.MiB)
	for block := volume.LeastBlockBytes; block <= volume.Size(os.Getpagesize()); block *= 2 {
		device, err := h.AttachLoop(t.Context(), path, false, block)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := host.BlockBytes(device); err != nil || got != block {
			t.Errorf("blocks of %d were asked for, and %s has %d (%v)", block, device, got, err)
		}
		if err := h.DetachLoop(t.Context(), device, file, ""); err != nil {
			t.Fatal(err)
		}
	}
	short, _ := image(t, "", volume.MiB+512)
	for _, refused := range []struct {
		path  string
		block volume.Size
		kind  volume.Kind
	}{
		{path, 0, volume.Invalid}, {path, 256, volume.Invalid}, {path, 3000, volume.Invalid},
		{path, 2 * volume.Size(os.Getpagesize()), volume.Unsupported}, {short, 4096, volume.Invalid},
	} {
		if device, err := h.AttachLoop(t.Context(), refused.path, false, refused.block); !volume.Is(err, refused.kind) {
			t.Errorf("a device of blocks of %d: %q, %v", refused.block, device, err)
		}
	}
}

// Whatever an administrator makes of a file beside loam, or changes of a device, is seen.
func TestEachWayToSetUpALoopDeviceIsTold(t *testing.T) {
	hosttest.NeedsRoot(t)
	h := host.New(host.NewRunner())
	path, file := image(t, "", volume.MiB)
	for _, c := range []struct{ options, says string }{
		{"--sector-size=4096", ""}, {"--sector-size=4096 --read-only", ""}, {"", "512"}, {"--sector-size=4096 --offset=4096", "byte 4096"},
		{"--sector-size=4096 --sizelimit=65536", "65536"}, {"--sector-size=4096 --partscan", "partitions"},
	} {
		device := command(t, "losetup", append(append([]string{"--find", "--show"}, strings.Fields(c.options)...), path)...)
		loops, _, err := h.LoopsOf(path, file)
		if err != nil || len(loops) != 1 || loops[0].Device != device {
			t.Fatalf("LoopsOf answered %v, %v", loops, err)
		}
		why := loops[0].Differs(volume.MiB, volume.DefaultBlockBytes)
		if (why == "") != (c.says == "") || !strings.Contains(why, c.says) {
			t.Errorf("losetup %s: %q", c.options, why)
		}
		if readOnly := strings.Contains(c.options, "read-only"); loops[0].ReadOnly != readOnly {
			t.Errorf("losetup %s: read-only %t", c.options, loops[0].ReadOnly)
		}
		if why := loops[0].Differs(64*volume.KiB-1, volume.DefaultBlockBytes); why == "" {
			t.Errorf("losetup %s: nothing is said of a file that is smaller than its device", c.options)
		}
		command(t, "losetup", "--detach", device)
		waitUntilDetached(t, h, path, file)
	}
}

// losetup --detach of a device that is open has the kernel detach it later. Settled, it stays.
func TestADeviceThatWasDetachedWhileOpenStaysWhenItIsSettled(t *testing.T) {
	hosttest.NeedsRoot(t)
	h := host.New(host.NewRunner())
	path, file := image(t, "", volume.MiB)
	device := attach(t, h, path, file, volume.DefaultBlockBytes)
	held, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	command(t, "losetup", "--detach", device)
	loops, _, err := h.LoopsOf(path, file)
	if err != nil || len(loops) != 1 || !loops[0].Autoclear {
		t.Fatalf("LoopsOf answered %v, %v", loops, err)
	}
	other, otherFile := image(t, "", volume.MiB)
	wrong := loops[0]
	wrong.File = otherFile
	if err := h.SettleLoop(wrong); !volume.Is(err, volume.InUse) {
		t.Errorf("SettleLoop as a device of %s: %v", other, err)
	}
	if err := h.GrowLoop(device, otherFile); !volume.Is(err, volume.InUse) {
		t.Errorf("GrowLoop as a device of %s: %v", other, err)
	}
	if err := errors.Join(h.SettleLoop(loops[0]), held.Close()); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := unix.IoctlLoopGetStatus64(int(f.Fd())); err != nil {
		t.Errorf("after it was settled and closed %s has no file: %v", device, err)
	}
}
