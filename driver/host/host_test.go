package host_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/volume"
)

// holdEnv makes this test binary freeze the targets that it names, a line each, say so, and hold them.
const holdEnv = "LOAM_TEST_HOLD"

func TestMain(m *testing.M) {
	if targets := os.Getenv(holdEnv); targets != "" {
		if _, err := host.Freeze(context.Background(), strings.Split(targets, "\n")); err != nil {
			panic(err)
		}
		_, _ = os.Stdout.WriteString("held\n")
		select {}
	}
	if os.Getenv(trialEnv) != "" {
		tryFormats()
	}
	os.Exit(hosttest.LeaveNothing(m.Run))
}

// command runs a command that the test needs.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// device makes a loop device until the test ends.
func device(t *testing.T, size volume.Size) string {
	t.Helper()
	return deviceOf(t, filepath.Join(t.TempDir(), "file"), size)
}

// deviceOf makes a file, and a loop device of it until the test ends.
func deviceOf(t *testing.T, file string, size volume.Size) string {
	t.Helper()
	hosttest.NeedsRoot(t)
	h := host.New(host.NewRunner())
	f, err := os.Create(file)
	if err == nil {
		err = errors.Join(f.Truncate(int64(size)), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	path, err := h.AttachLoop(t.Context(), file, false, volume.DefaultBlockBytes)
	if err != nil {
		t.Fatal(err)
	}
	identity, _, err := host.Identify(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.DetachLoop(context.Background(), path, identity, ""); err != nil {
			t.Error(err)
		}
	})
	return path
}

// mounted makes and mounts a file system until the test ends.
func mounted(t *testing.T) string {
	t.Helper()
	return mountedFrom(t, device(t, 64*volume.MiB))
}

func mountedFrom(t *testing.T, device string) string {
	t.Helper()
	dir := t.TempDir()
	command(t, "mkfs.ext4", "-q", device)
	command(t, "mount", device, dir)
	t.Cleanup(func() {
		// Who looked whether it takes writes, while it was frozen, lets go only after it was thawed.
		for until := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			out, err := exec.Command("umount", dir).CombinedOutput()
			if err == nil {
				return
			}
			if !strings.Contains(string(out), "busy") || time.Now().After(until) {
				t.Errorf("umount %s: %v: %s", dir, err, out)
				return
			}
		}
	})
	return dir
}

// writable reports whether a file can be written at dir before the deadline.
func writable(dir string, within time.Duration) bool {
	done := make(chan error, 1)
	go func() { done <- os.WriteFile(filepath.Join(dir, "probe"), []byte("x"), 0o600) }()
	select {
	case err := <-done:
		return err == nil
	case <-time.After(within):
		return false
	}
}

func TestRunnerTellsWhatAndHowACommandFailed(t *testing.T) {
	r := host.NewRunner()
	out, err := r.Run(t.Context(), host.Command{Name: "cat", Stdin: []byte("secret")})
	if err != nil || string(out) != "secret" {
		t.Errorf("cat answered %q, %v", out, err)
	}
	var exit *host.ExitError
	_, err = r.Run(t.Context(), host.Command{Name: "sh", Args: []string{"-c", "echo oh >&2; echo no >&2; exit 3"}, Stdin: []byte("secret")})
	if !errors.As(err, &exit) || exit.Code != 3 || exit.Stderr != "oh no" || strings.Contains(err.Error(), "secret") {
		t.Errorf("a command that fails: %v", err)
	}
	_, err = r.Run(t.Context(), host.Command{Name: "no-such-command-of-loam"})
	if !volume.Is(err, volume.Internal) || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("a command that is not there: %v", err)
	}
	start := time.Now()
	_, err = r.Run(t.Context(), host.Command{Name: "sleep", Args: []string{"60"}, Timeout: 50 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "killed") || time.Since(start) > 30*time.Second {
		t.Errorf("a command that hangs: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = r.Run(ctx, host.Command{Name: "true"}); err != nil {
		t.Errorf("a caller that has gone ended the command: %v", err)
	}
}

func TestAFileThatCannotBeAllocatedTakesNothing(t *testing.T) {
	dir := mounted(t) // an ext4 of 64 MiB
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Preallocate(f, 0, 8*volume.MiB); err != nil {
		t.Fatal(err)
	}
	before, err := host.New(host.NewRunner()).Usage(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Preallocate(f, 8*volume.MiB, 200*volume.MiB); !volume.Is(err, volume.Full) {
		t.Errorf("Preallocate of more than there is: %v", err)
	}
	after, err := host.New(host.NewRunner()).Usage(dir)
	if size, _, sizeErr := host.Allocated(f.Name()); err != nil || sizeErr != nil || size != 8*volume.MiB || after.AvailableBytes != before.AvailableBytes {
		t.Errorf("the file has %s, %d bytes are available and %d were (%v, %v)", size, after.AvailableBytes, before.AvailableBytes, err, sizeErr)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestTheMountPointOfADeviceLeadsToIt(t *testing.T) {
	h, path, dir := host.New(host.NewRunner()), device(t, 64*volume.MiB), t.TempDir()
	if _, mounted, err := h.MountPoint(path); err != nil || mounted {
		t.Errorf("before: %t, %v", mounted, err)
	}
	command(t, "mkfs.ext4", "-q", path)
	command(t, "mount", path, dir)
	defer command(t, "umount", dir)
	if got, _, err := h.MountPoint(path); err != nil || got != dir {
		t.Errorf("mounted at %q, and MountPoint answered %q, %v", dir, got, err)
	}
	command(t, "mount", "-t", "tmpfs", "none", dir)
	if got, mounted, err := h.MountPoint(path); !mounted || !volume.Is(err, volume.Unavailable) {
		t.Errorf("with another mount over it: %q, %t, %v", got, mounted, err)
	}
	command(t, "umount", dir)
}

// A mkfs goes on when the process that started it is killed. Until it has ended, the device is its own,
// also where mkfs itself does not see to that.
func TestADeviceThatAMkfsWorksOnCannotBeClaimed(t *testing.T) {
	h, path := host.New(host.NewRunner()), device(t, 16*volume.MiB)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	mkfs := exec.Command("sleep", "60") // which has inherited what Format would give it
	mkfs.ExtraFiles = []*os.File{f}
	if err := errors.Join(mkfs.Start(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Claim(path); !volume.Is(err, volume.Busy) {
		t.Errorf("Claim beside a mkfs: %v", err)
	}
	if err := mkfs.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = mkfs.Wait() // it was killed
	release, err := h.Claim(path)
	if err != nil {
		t.Fatalf("Claim after the mkfs: %v", err)
	}
	release()
	if err := h.Format(t.Context(), path, host.Format{Type: volume.Ext4}); err != nil {
		t.Error(err)
	}
}
