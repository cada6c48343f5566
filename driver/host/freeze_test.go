package host_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

func TestSecondFreezeIsBusyAndThawEndsTheFirst(t *testing.T) {
	dir := mounted(t)
	frozen, err := host.Freeze(t.Context(), []string{dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := host.Freeze(t.Context(), []string{dir}); !volume.Is(err, volume.Busy) {
		t.Errorf("a second Freeze: %v", err)
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
	if err := host.Thaw(dir); err != nil {
		t.Errorf("Thaw of what is not frozen: %v", err)
	}
}

func TestFreezeOfAllOrNone(t *testing.T) {
	dir := mounted(t)
	if _, err := host.Freeze(t.Context(), []string{dir, filepath.Join(t.TempDir(), "nothing")}); err == nil {
		t.Error("Freeze of a path that is not there succeeded")
	}
	if !writable(dir, 10*time.Second) {
		t.Error("the file system that could be frozen is left frozen")
	}
}

// Whoever froze it may die in any way; the watchdog thaws.
func TestWatchdogThawsWhenItsParentIsKilled(t *testing.T) {
	dir := mounted(t)
	holder := exec.Command("/proc/self/exe")
	holder.Env = append(os.Environ(), holdEnv+"="+dir)
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
		_ = host.Thaw(dir)
		t.Error("the file system is still frozen")
	}
}

// A freeze does not end with the process that froze: the one that asked for it has to see to it.
func TestAKilledWatchdogLeavesNothingFrozen(t *testing.T) {
	dir := mounted(t)
	frozen, err := host.Freeze(t.Context(), []string{dir})
	if err != nil {
		t.Fatal(err)
	}
	children, err := os.ReadFile("/proc/thread-self/children")
	if err == nil && len(children) == 0 { // it was started by another thread
		children, err = exec.Command("pgrep", "-P", fmt.Sprint(os.Getpid())).Output()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range strings.Fields(string(children)) {
		_ = exec.Command("kill", "-9", child).Run() // pgrep itself has ended
	}
	if err := frozen.Thaw(); err == nil {
		t.Error("Thaw by a watchdog that was killed succeeded: nobody knows how long it was frozen")
	}
	if !writable(dir, 10*time.Second) {
		_ = host.Thaw(dir)
		t.Error("the file system is still frozen")
	}
}
