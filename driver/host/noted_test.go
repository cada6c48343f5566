package host_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// A note names one device, whatever lies over it, and never another that got its number.
func TestADeviceIsNotedWhereItIsGoingToBe(t *testing.T) {
	h, path, dir := host.New(host.NewRunner()), device(t, 64*volume.MiB), t.TempDir()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	noted := func(target string) string {
		t.Helper()
		d, found, err := h.NotedDevice(target)
		ok(err)
		if found != (d.Path != "") {
			t.Errorf("%v and %+v", found, d)
		}
		return d.Path
	}
	file := filepath.Join(dir, "file")
	ok(os.WriteFile(file, nil, 0o600))
	for _, target := range []string{dir, file} {
		if got := noted(target); got != "" {
			t.Errorf("nothing is noted, and %q found", got)
		}
		ok(h.NoteDevice(target, path))
		if got := noted(target); got != path {
			t.Errorf("%s is noted at %s, and %q found", path, target, got)
		}
	}
	command(t, "mkfs.ext4", "-q", path)
	mountPoint := filepath.Join(dir, "mounted")
	ok(os.Mkdir(mountPoint, 0o700))
	ok(h.Mount(t.Context(), path, mountPoint, volume.Ext4, nil))
	defer func() { ok(h.Unmount(t.Context(), mountPoint)) }()
	if got := noted(mountPoint); got != "" {
		t.Errorf("nothing is noted below the mount, and %q found", got)
	}
	ok(h.SetOwner(mountPoint, "n1/fast/v"))
	ok(h.NoteDevice(mountPoint, path))
	if owner, err := h.Owner(mountPoint); owner != "n1/fast/v" || err != nil || noted(mountPoint) != path {
		t.Errorf("below the mount are noted %q and %q, %v", owner, noted(mountPoint), err)
	}
	// The same number, of another file.
	other := filepath.Join(dir, "other")
	ok(os.WriteFile(other, make([]byte, 8192), 0o600))
	again, err := h.AttachLoop(t.Context(), other, false, volume.DefaultBlockBytes)
	ok(err)
	detach := func() {
		t.Helper()
		id, _, err := host.Identify(other)
		ok(err)
		ok(h.DetachLoop(t.Context(), again, id, ""))
	}
	ok(h.NoteDevice(file, again))
	detach()
	if got := noted(file); got != "" {
		t.Errorf("it has gone, and %q is found", got)
	}
	// Somebody else on this machine may be quicker: then it is theirs.
	if err := exec.Command("losetup", again, other).Run(); err == nil {
		defer detach()
	}
	if got := noted(file); got != "" {
		t.Errorf("it is another device now, and %q is found", got)
	}
	if _, found, err := h.NotedDevice(filepath.Join(dir, "missing")); found || err != nil {
		t.Errorf("at a path that is not there: %v, %v", found, err)
	}
}

// A directory on a mount that cannot be cloned keeps no notes, and nothing that is mounted there needs them.
func TestNothingIsNotedOnAMountThatCannotBeBound(t *testing.T) {
	h, dir := host.New(host.NewRunner()), mounted(t)
	command(t, "mount", "--make-unbindable", dir)
	target := filepath.Join(dir, "target")
	if err := os.Mkdir(target, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := h.SetOwner(target, "n1/fast/v"); err != nil {
		t.Errorf("SetOwner: %v", err)
	}
	if err := h.NoteDevice(target, device(t, volume.MiB)); err != nil {
		t.Errorf("NoteDevice: %v", err)
	}
	owner, err := h.Owner(target)
	_, found, deviceErr := h.NotedDevice(target)
	if owner != "" || err != nil || found || deviceErr != nil {
		t.Errorf("noted are %q, %v and a device: %t, %v", owner, err, found, deviceErr)
	}
}
