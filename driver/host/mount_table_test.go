package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	utilexec "k8s.io/utils/exec"
)

// layersEnv names the directory in which this test binary mounts an overlay of many layers, in a mount namespace of its own,
// and reads the mount table.
const layersEnv = "LOAM_TEST_LAYERS"

func TestALongLineOfTheMountTableIsRead(t *testing.T) {
	if dir := os.Getenv(layersEnv); dir != "" {
		readLongLine(t, dir)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount an overlay")
	}
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), layersEnv+"="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if _, why, skipped := strings.Cut(string(out), "skipping: "); skipped {
		t.Skip(strings.TrimSpace(strings.Split(why, "\n")[0]))
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// readLongLine mounts it through fsconfig(2), since mount(2) takes no more than a page of options.
func readLongLine(t *testing.T, dir string) {
	const layers = 480
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Skipf("skipping: this kernel has no overlay: %v", err)
	}
	for i := range layers {
		layer := filepath.Join(dir, fmt.Sprintf("%03d", i))
		layer += strings.Repeat("x", max(1, 250-len(layer))) // fsconfig takes 255 bytes
		if err := os.Mkdir(layer, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.FsconfigSetString(fs, "lowerdir+", layer); err != nil {
			t.Skipf("skipping: this kernel takes no layers one by one: %v", err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		t.Fatal(err)
	}
	tree, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "target")
	if err := os.Mkdir(target, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH), unix.Close(tree), unix.Close(fs)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(target, 0); err != nil {
			t.Error(err)
		}
	})
	if _, err := mountinfo.GetMounts(nil); err == nil {
		t.Error("the line is not as long as the test wants it")
	}
	all, err := New(NewRunner()).Mounts()
	if err != nil {
		t.Fatal(err)
	}
	last := all[len(all)-1]
	if last.Target != target || last.FSType != "overlay" || !last.ReadOnly {
		t.Errorf("the last of %d mounts is %+v", len(all), last)
	}
}

func TestShortLinesKeepWhatIsRead(t *testing.T) {
	long := strings.Repeat("lowerdir=/layer,", 10_000)
	table := "1 0 7:3 / /a rw - ext4 /dev/loop3 rw,errors=continue\n2 0 0:9 / /b ro,relatime shared:1 - overlay overlay ro," + long + "\n"
	want := "1 0 7:3 / /a rw - ext4 /dev/loop3 rw,errors=continue\n2 0 0:9 / /b ro,relatime shared:1 - overlay overlay "
	short := string(shortLines([]byte(table)))
	if rest, ok := strings.CutPrefix(short, want); !ok || !strings.HasPrefix(rest, "ro,lowerdir=") || len(rest) != superOptionsBytes+1 {
		t.Errorf("it is %q", short)
	}
	if short := shortLines(nil); len(short) != 0 {
		t.Errorf("an empty table is %q", short)
	}
}

// Commands that mount-utils starts are found where only root looks, and one that is not there is named.
func TestToolsAreFoundAndNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	h := New(NewRunner())
	_, err := h.grower.NeedResize("/dev/null", "/") // asks blockdev first
	if err == nil || strings.Contains(err.Error(), "not installed") {
		t.Errorf("blockdev, without a search path: %v", err)
	}
	out, err := tools{utilexec.New()}.Command("no-such-command-of-loam").CombinedOutput()
	if err == nil || !strings.Contains(err.Error(), "no-such-command-of-loam") {
		t.Errorf("a command that is not there: %q, %v", out, err)
	}
}
