package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/loam-storage/loam/driver/volume"
)

// Frozen is a number of mounted file systems and device-mapper devices that take no writes until Thaw. They are frozen by a
// process of their own, the watchdog, and thawed by it: when Thaw asks for it, when this process ends
// in whatever way, or when it has not heard of it for as long as a watchdog waits.
type Frozen struct {
	targets []string
	others  []string // of the targets, those that somebody else had frozen before

	command *exec.Cmd
	ask     io.WriteCloser
	answers *bufio.Reader
	ended   sync.Once
	lost    bool // Beat has said that it ended
}

// thawPatience is how long a call waits for what ThawLeft does.
const thawPatience = 30 * time.Second

// freezePatience is how long a watchdog waits for a Beat or Thaw.
const freezePatience = 10 * time.Second

// Freeze freezes the targets, all or none. A path is where a file system is mounted (FIFREEZE, which also
// writes out what it holds back); anything else names a device-mapper device, which is suspended with the file system on
// it, if there is one. A file system that somebody else has frozen already is as good, as long as he holds it: it is watched and
// never thawed (Others). A device-mapper device that somebody else holds is Busy.
func Freeze(ctx context.Context, targets []string) (*Frozen, error) {
	f := &Frozen{targets: targets, command: watchdogCommand(ctx, watchdogFlag, targets)}
	f.command.Stderr = os.Stderr
	ask, err := f.command.StdinPipe()
	if err != nil {
		return nil, volume.Errorf(volume.Internal, "start the freeze watchdog: %w", err)
	}
	answers, err := f.command.StdoutPipe()
	if err != nil {
		return nil, volume.Errorf(volume.Internal, "start the freeze watchdog: %w", err)
	}
	if err := f.command.Start(); err != nil {
		return nil, volume.Errorf(volume.Internal, "start the freeze watchdog: %w", err)
	}
	f.ask, f.answers = ask, bufio.NewReader(answers)
	if err := f.hear(watchdogFrozen); err != nil {
		f.end()
		return nil, err
	}
	return f, nil
}

func watchdogCommand(ctx context.Context, flag string, targets []string) *exec.Cmd {
	c := exec.CommandContext(context.WithoutCancel(ctx), "/proc/self/exe")
	// Its own session, so that a signal to the terminal's or the service's group does not reach it.
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.Args = append([]string{watchdogName, flag}, targets...)
	return c
}

// Others returns which of the targets somebody else had frozen.
func (f *Frozen) Others() []string { return f.others }

// hear waits for one answer of the watchdog.
func (f *Frozen) hear(want string) error {
	line, err := f.answers.ReadString('\n')
	switch line = strings.TrimSpace(line); {
	case line == want:
		return nil
	case strings.HasPrefix(line, watchdogOther):
		other, err := strconv.Unquote(strings.TrimPrefix(line, watchdogOther))
		if err != nil {
			return volume.Errorf(volume.Internal, "the freeze watchdog said %s: %w", shorten(line), err)
		}
		f.others = append(f.others, other)
		return f.hear(want)
	case strings.HasPrefix(line, watchdogBusy):
		return volume.Errorf(volume.Busy, "%s", strings.TrimPrefix(line, watchdogBusy))
	case line != "":
		return volume.Errorf(volume.Internal, "%s", shorten(line))
	default:
		// It was killed, and a freeze does not end with its process.
		err = volume.Errorf(volume.Internal, "the freeze watchdog ended and did not say %q: %w", want, err)
		ours := slices.DeleteFunc(slices.Clone(f.targets), func(t string) bool { return slices.Contains(f.others, t) })
		return errors.Join(err, ThawLeft(context.Background(), ours))
	}
}

// Beat tells the watchdog that there is still work to do. An error means that the file systems are no
// longer frozen; its kind is Busy where somebody else has thawed his.
func (f *Frozen) Beat() error {
	if _, err := fmt.Fprintln(f.ask, watchdogBeat); err != nil {
		return volume.Errorf(volume.Unavailable, "the file systems were thawed before the copy was done: %w", err)
	}
	if len(f.others) > 0 && !f.lost {
		err := f.hear(watchdogHeld)
		f.lost = err != nil
		return err
	}
	return nil
}

// Thaw lets the writes go on. An error means that they may have gone on earlier, so what was copied
// meanwhile is not of one instant.
func (f *Frozen) Thaw() error {
	var err error
	f.ended.Do(func() {
		_, _ = fmt.Fprintln(f.ask, watchdogThaw) // where it has ended, hear finds that out
		if !f.lost {
			err = f.hear(watchdogThawed)
		}
		f.end()
	})
	if volume.Is(err, volume.Busy) {
		return err
	}
	if err != nil {
		return volume.Errorf(volume.Unavailable, "the file systems were thawed too early: %w", err)
	}
	return nil
}

func (f *Frozen) end() {
	_ = f.ask.Close() // the watchdog thaws when it reads the end
	_ = f.command.Wait()
}

// ThawLeft is Thaw for targets of Freeze that a process which is gone may have left frozen, in a process of
// its own: btrfs turns read-only when the process that thaws it is killed meanwhile, as this one may be.
func ThawLeft(ctx context.Context, targets []string) error {
	if len(targets) == 0 {
		return nil
	}
	ended := make(chan error, 1)
	go func() {
		out, err := watchdogCommand(ctx, thawFlag, targets).CombinedOutput()
		if err != nil {
			err = volume.Errorf(volume.Internal, "thaw what was left frozen: %w: %s", err, shorten(string(out)))
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		return err
	case <-time.After(thawPatience): // it writes to a disk that does not answer, and cannot be killed
		return volume.Errorf(volume.Unavailable, "thaw what was left frozen: %q did not thaw within %s, and goes on", targets, thawPatience)
	}
}

// Thaw thaws a target that a freeze of a process that is gone may have left frozen; one that is
// not frozen stays as it is.
func Thaw(target string) error {
	err := thaw(target)
	if errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return failed("thaw", target, err)
}

func isMountPoint(target string) bool { return strings.HasPrefix(target, "/") }

func freeze(target string) error {
	if isMountPoint(target) {
		return freezeIoctl(target, fiFreeze)
	}
	return suspendMapped(target)
}

// thaw fails with EINVAL where the target is not frozen.
func thaw(target string) error {
	if isMountPoint(target) {
		return freezeIoctl(target, fiThaw)
	}
	return resumeMapped(target)
}

func freezeIoctl(mountPoint string, request uintptr) error {
	dir, err := os.Open(mountPoint)
	if err != nil {
		return err
	}
	return errors.Join(ioctl(dir, request, nil), dir.Close())
}
