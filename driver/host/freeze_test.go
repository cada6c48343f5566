package host_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/volume"
)

// eachTarget runs a test with a file system that is mounted at dir, and frozen as the target: by its path, or by the
// name of its device.
func eachTarget(t *testing.T, test func(t *testing.T, dir, target string)) {
	t.Run("mount point", func(t *testing.T) {
		dir := mounted(t)
		test(t, dir, dir)
	})
	t.Run("mapped device", func(t *testing.T) {
		hosttest.NeedsRoot(t)
		const name = "loam-test"
		dir := mountedFrom(t, mapped(t, name, 64*volume.MiB))
		test(t, dir, name)
	})
}

// mapped makes a device-mapper device of a name until the test ends, and returns its path.
func mapped(t *testing.T, name string, size volume.Size) string {
	t.Helper()
	if out, err := exec.Command("dmsetup", "version").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: this machine has no device-mapper: %v %s", err, out)
	}
	below := device(t, size)
	t.Setenv("DM_DISABLE_UDEV", "1")
	command(t, "dmsetup", "create", name, "--table", fmt.Sprintf("0 %d linear %s 0", size/512, below))
	t.Cleanup(func() { command(t, "dmsetup", "remove", name) })
	return "/dev/mapper/" + name
}

func TestSecondFreezeIsBusyAndThawEndsTheFirst(t *testing.T) {
	eachTarget(t, secondFreezeIsBusy)
}

func secondFreezeIsBusy(t *testing.T, dir, target string) {
	frozen, err := host.Freeze(t.Context(), []string{target})
	if err != nil {
		t.Fatal(err)
	}
	second, err := host.Freeze(t.Context(), []string{target})
	if target != dir { // a device
		if !volume.Is(err, volume.Busy) {
			t.Errorf("a second Freeze: %v", err)
		}
	} else if err != nil || !slices.Equal(second.Others(), []string{target}) {
		t.Fatalf("a second Freeze: %v", err)
	} else if err := errors.Join(second.Beat(), second.Thaw()); err != nil {
		t.Errorf("beside a freeze that lasts: %v", err)
	}
	if err := frozen.Beat(); err != nil {
		t.Error(err)
	}
	written := make(chan bool, 1)
	go func() { written <- writable(dir, time.Minute) }()
	select {
	case <-written:
		t.Error("a frozen file system took a write")
	case <-time.After(100 * time.Millisecond):
	}
	if err := frozen.Thaw(); err != nil {
		t.Error(err)
	}
	if !<-written {
		t.Error("a thawed file system takes no write")
	}
	if err := host.Thaw(target); err != nil {
		t.Errorf("Thaw of what is not frozen: %v", err)
	}
}

// What somebody else has frozen is watched, and never thawed: not when its thaw is found out, nor when the watchdog ends.
func TestAFreezeOfSomebodyElseIsWatchedAndNeverThawed(t *testing.T) {
	theirs, ours := mounted(t), mounted(t)
	thaw := map[string]func(*host.Frozen) error{"at a beat": (*host.Frozen).Beat, "at the end": (*host.Frozen).Thaw}
	for when, find := range thaw {
		command(t, "fsfreeze", "--freeze", theirs)
		f, err := host.Freeze(t.Context(), []string{ours, theirs})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Beat(); err != nil {
			t.Errorf("Beat while it is held: %v", err)
		}
		command(t, "fsfreeze", "--unfreeze", theirs)
		if err := find(f); !volume.Is(err, volume.Busy) || !strings.Contains(err.Error(), theirs) {
			t.Errorf("%s: %v", when, err)
		}
		_ = f.Thaw() // what it says was said before
		for _, dir := range []string{theirs, ours} {
			if !writable(dir, time.Minute) {
				t.Errorf("%s: %s is left frozen", when, dir)
			}
		}
	}
	command(t, "fsfreeze", "--freeze", theirs)
	f, err := host.Freeze(t.Context(), []string{ours, theirs})
	if err == nil {
		err = f.Thaw()
	}
	if err != nil {
		t.Errorf("Freeze and Thaw: %v", err)
	}
	if !writable(ours, time.Minute) {
		t.Error("what was frozen here is left frozen")
	}
	command(t, "fsfreeze", "--unfreeze", theirs) // fails where it is not frozen any more
}

func TestFreezeOfAllOrNone(t *testing.T) {
	eachTarget(t, func(t *testing.T, dir, target string) {
		for _, nothing := range []string{filepath.Join(t.TempDir(), "nothing"), "nothing"} {
			if _, err := host.Freeze(t.Context(), []string{target, nothing}); err == nil {
				t.Errorf("Freeze of %q, which is not there, succeeded", nothing)
			}
			if !writable(dir, time.Minute) {
				t.Error("the file system that could be frozen is left frozen")
			}
		}
	})
}

// Whoever froze it may die in any way; the watchdog thaws.
func TestWatchdogThawsWhenItsParentIsKilled(t *testing.T) {
	eachTarget(t, thawsWhenItsParentIsKilled)
}

func thawsWhenItsParentIsKilled(t *testing.T, dir, target string) {
	holder := exec.Command("/proc/self/exe")
	holder.Env = append(os.Environ(), holdEnv+"="+target)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	held := make([]byte, len("held\n"))
	if _, err := out.Read(held); err != nil || string(held) != "held\n" {
		t.Fatalf("the holder said %q, %v", held, err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // it was killed
	if !writable(dir, 8*time.Second) {
		_ = host.Thaw(target)
		t.Error("the file system is still frozen")
	}
}

// A freeze does not end with the process that froze: the one that asked for it has to see to it.
func TestAKilledWatchdogLeavesNothingFrozen(t *testing.T) {
	eachTarget(t, killedWatchdogLeavesNothingFrozen)
}

func killedWatchdogLeavesNothingFrozen(t *testing.T, dir, target string) {
	frozen, err := host.Freeze(t.Context(), []string{target})
	if err != nil {
		t.Fatal(err)
	}
	lists, err := filepath.Glob("/proc/self/task/*/children") // each thread has its own
	if err != nil {
		t.Fatal(err)
	}
	killed := 0
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, child := range strings.Fields(string(children)) {
			pid, err := strconv.Atoi(child)
			if err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
				killed++
			}
		}
	}
	if killed == 0 {
		t.Fatal("there is no watchdog to kill")
	}
	if err := frozen.Thaw(); err == nil {
		t.Error("Thaw by a watchdog that was killed succeeded: nobody knows how long it was frozen")
	}
	if !writable(dir, time.Minute) {
		_ = host.Thaw(target)
		t.Error("the file system is still frozen")
	}
}
