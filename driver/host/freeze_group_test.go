package host_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// hanging mounts a file system whose freeze hangs until it is let go: its disk does not answer. That is a suspended device where there
// is a device-mapper, else a file in a file system that is frozen, which holds up the loop devices of newer kernels only.
func hanging(t *testing.T) (dir string, letGo func()) {
	stop, goOn := []string(nil), []string(nil)
	if exec.Command("dmsetup", "version").Run() == nil {
		const name = "loam-test-hangs"
		dir = mountedFrom(t, mapped(t, name, 16*volume.MiB))
		stop, goOn = []string{"dmsetup", "suspend", "--nolockfs", name}, []string{"dmsetup", "resume", name}
	} else {
		below := mounted(t)
		dir = mountedFrom(t, deviceOf(t, filepath.Join(below, "file"), 16*volume.MiB))
		stop, goOn = []string{"fsfreeze", "--freeze", below}, []string{"fsfreeze", "--unfreeze", below}
	}
	if err := os.WriteFile(filepath.Join(dir, "not-synced"), bytes.Repeat([]byte("loam"), 1<<18), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, stop[0], stop[1:]...)
	letGo = sync.OnceFunc(func() { command(t, goOn[0], goOn[1:]...) })
	t.Cleanup(letGo)
	return dir, letGo
}

// untilFrozen waits until a file system takes no writes, and returns what becomes of one that waits.
func untilFrozen(t *testing.T, dir string) (written <-chan bool) {
	h := host.New(host.NewRunner())
	for until := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the second of a group is not frozen while the first one's freeze hangs")
		}
		if h.TakesWrites(t.Context(), dir) {
			continue
		}
		done := make(chan bool, 1)
		go func() { done <- writable(dir, 5*time.Minute) }()
		select {
		case <-done: // it was only slow
		case <-time.After(300 * time.Millisecond):
			return done
		}
	}
}

// freezing freezes targets in a goroutine, which has ended before what is to be let go is taken away.
func freezing(t *testing.T, letGo func(), targets ...string) (ended <-chan error) {
	done, result := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(done)
		f, err := host.Freeze(t.Context(), targets)
		if err == nil {
			err = f.Thaw()
		}
		result <- err
	}()
	t.Cleanup(func() {
		letGo()
		<-done
	})
	return result
}

func TestTheFreezesOfAGroupOverlap(t *testing.T) {
	slow, letGo := hanging(t)
	quick := mounted(t)
	ended := freezing(t, letGo, slow, quick)
	written := untilFrozen(t, quick)
	letGo()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !<-written || !writable(slow, time.Minute) {
		t.Error("one is left frozen")
	}
}

func TestAGroupIsThawedWhereOneDoesNotFreezeInTime(t *testing.T) {
	slow, letGo := hanging(t)
	quick := mounted(t)
	ended := freezing(t, letGo, slow, quick)
	if written := untilFrozen(t, quick); !<-written {
		t.Error("the one that could be frozen is left frozen")
	}
	letGo()
	if err := <-ended; err == nil {
		t.Error("Freeze succeeded")
	}
	if !writable(slow, time.Minute) {
		t.Error("the one that was late is left frozen")
	}
}

func TestAGroupIsThawedWhenItsParentIsKilledBetweenTwoFreezes(t *testing.T) {
	slow, letGo := hanging(t)
	quick := mounted(t)
	holder := exec.Command("/proc/self/exe")
	holder.Env = append(os.Environ(), holdEnv+"="+slow+"\n"+quick)
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	written := untilFrozen(t, quick)
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // it was killed
	select {
	case is := <-written:
		if !is {
			t.Error("the one that was frozen takes no writes")
		}
	case <-time.After(8 * time.Second): // less than a watchdog waits for a parent that says nothing
		t.Error("the one that was frozen is left frozen")
	}
	letGo()
	if !writable(slow, time.Minute) {
		t.Error("the one that was to be frozen is left frozen")
	}
}
