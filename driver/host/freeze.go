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

	"github.com/loam-storage/loam/driver/host/watchdog"
	"github.com/loam-storage/loam/driver/volume"
)

// Watchdog is a process of its own that freezes file systems and device-mapper devices, and thaws them: when it is asked to, when
// this process ends in whatever way, or when it has not heard of it for as long as a watchdog waits. It is this program once more,
// under another name (package watchdog).
type Watchdog struct {
	targets []string
	others  []string // of the targets, those that somebody else had frozen before

	command *exec.Cmd
	started chan error // what became of its start
	ask     io.WriteCloser
	answers *bufio.Reader
	ended   sync.Once
	lost    bool // Beat has said that it ended
}

// Frozen is a number of mounted file systems and device-mapper devices that take no writes until Thaw, and the watchdog that
// sees to that.
type Frozen struct{ w *Watchdog }

// thawPatience is how long a call waits for what ThawLeft does, and for a watchdog to end.
const thawPatience = 30 * time.Second

// StartWatchdog starts a watchdog that has nothing to do yet, and does not wait for that: it takes a millisecond, and many where the
// machine has much to do, so it is begun before what else comes before a freeze. The watchdog is to be ended (End).
func StartWatchdog(ctx context.Context) (*Watchdog, error) {
	w := &Watchdog{command: watchdogCommand(ctx, watchdog.Watch), started: make(chan error, 1)}
	w.command.Stderr = os.Stderr
	ask, askErr := w.command.StdinPipe()
	answers, answerErr := w.command.StdoutPipe()
	if err := errors.Join(askErr, answerErr); err != nil {
		return nil, volume.Errorf(volume.Internal, "start the freeze watchdog: %w", err)
	}
	w.ask, w.answers = ask, bufio.NewReader(answers)
	go func() { w.started <- w.command.Start() }()
	return w, nil
}

// Freeze starts a watchdog and has it freeze the targets.
func Freeze(ctx context.Context, targets []string) (*Frozen, error) {
	w, err := StartWatchdog(ctx)
	if err != nil {
		return nil, err
	}
	return w.Freeze(targets)
}

// Freeze freezes the targets beside each other, all or none. A path is where a file system is mounted (FIFREEZE, which also
// writes out what it holds back); anything else names a device-mapper device, which is suspended with the file system on
// it, if there is one. A file system that somebody else has frozen already is as good, as long as he holds it: it is watched and
// never thawed (Others). A device-mapper device that somebody else holds is Busy. It is called once; after an error nothing is
// frozen, but for a target whose freeze hangs, which is thawed as soon as that ends.
func (w *Watchdog) Freeze(targets []string) (*Frozen, error) {
	if err := <-w.started; err != nil {
		w.ended.Do(func() {}) // there is nobody
		return nil, volume.Errorf(volume.Internal, "start the freeze watchdog: %w", err)
	}
	w.started <- nil
	w.targets = targets
	var says strings.Builder
	for _, target := range targets {
		says.WriteString(strconv.Quote(target) + "\n")
	}
	says.WriteString(watchdog.Freeze + "\n")
	_, _ = io.WriteString(w.ask, says.String()) // where it has ended, hear finds that out
	if err := w.hear(watchdog.Frozen); err != nil {
		w.End()
		return nil, err
	}
	return &Frozen{w: w}, nil
}

func watchdogCommand(ctx context.Context, what string, arguments ...string) *exec.Cmd {
	c := exec.CommandContext(context.WithoutCancel(ctx), "/proc/self/exe")
	// Its own session, so that a signal to the terminal's or the service's group does not reach it.
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.Args = append([]string{watchdog.Name, what}, arguments...)
	return c
}

// hear waits for one answer of the watchdog.
func (w *Watchdog) hear(want string) error {
	line, err := w.answers.ReadString('\n')
	switch line = strings.TrimSpace(line); {
	case line == want:
		return nil
	case strings.HasPrefix(line, watchdog.Other):
		other, err := strconv.Unquote(strings.TrimPrefix(line, watchdog.Other))
		if err != nil {
			return volume.Errorf(volume.Internal, "the freeze watchdog said %s: %w", shorten(line), err)
		}
		w.others = append(w.others, other)
		return w.hear(want)
	case strings.HasPrefix(line, watchdog.Busy):
		return volume.Errorf(volume.Busy, "%s", strings.TrimPrefix(line, watchdog.Busy))
	case line != "":
		return volume.Errorf(volume.Internal, "%s", shorten(line))
	default:
		// It was killed, and a freeze does not end with its process.
		err = volume.Errorf(volume.Internal, "the freeze watchdog ended and did not say %q: %w", want, err)
		ours := slices.DeleteFunc(slices.Clone(w.targets), func(t string) bool { return slices.Contains(w.others, t) })
		return errors.Join(err, ThawLeft(context.Background(), ours))
	}
}

// End has the watchdog thaw what it has frozen, and waits until it has ended. One whose freeze hangs ends when that does, and is
// not waited for that long. Nothing happens where it has ended already, or has been told to.
func (w *Watchdog) End() { w.ended.Do(w.leave) }

// leave closes the watchdog's input, at the end of which it thaws, and waits for it to end, but not for longer than thawPatience.
func (w *Watchdog) leave() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := <-w.started; err != nil {
			return
		}
		_ = w.ask.Close()
		_ = w.command.Wait()
	}()
	late := time.NewTimer(thawPatience)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
	}
}

// Others returns which of the targets somebody else had frozen.
func (f *Frozen) Others() []string { return f.w.others }

// Beat tells the watchdog that there is still work to do. An error means that the file systems are no
// longer frozen; its kind is Busy where somebody else has thawed his.
func (f *Frozen) Beat() error {
	if _, err := fmt.Fprintln(f.w.ask, watchdog.Beat); err != nil {
		return volume.Errorf(volume.Unavailable, "the file systems were thawed before the copy was done: %w", err)
	}
	if len(f.w.others) > 0 && !f.w.lost {
		err := f.w.hear(watchdog.Held)
		f.w.lost = err != nil
		return err
	}
	return nil
}

// Thaw lets the writes go on. An error means that they may have gone on earlier, so what was copied
// meanwhile is not of one instant. The kind of its error is Busy where somebody else has thawed his.
func (f *Frozen) Thaw() error {
	var err error
	f.w.ended.Do(func() {
		_, _ = fmt.Fprintln(f.w.ask, watchdog.Thaw) // where it has ended, hear finds that out
		if !f.w.lost {
			err = f.w.hear(watchdog.Thawed)
		}
		f.w.leave() // it ends at once, and nothing of it is left where loam says that it is done
	})
	if err != nil && !volume.Is(err, volume.Busy) {
		return volume.Errorf(volume.Unavailable, "the file systems were thawed too early: %w", err)
	}
	return err
}

// ThawLeft is Thaw for targets of Freeze that a process which is gone may have left frozen, in a process of
// its own: btrfs turns read-only when the process that thaws it is killed meanwhile, as this one may be.
func ThawLeft(ctx context.Context, targets []string) error {
	if len(targets) == 0 {
		return nil
	}
	ended := make(chan error, 1)
	go func() {
		out, err := watchdogCommand(ctx, watchdog.ThawLeft, targets...).CombinedOutput()
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
	if err := watchdog.ThawIfFrozen(target); err != nil {
		return volume.Errorf(volume.Internal, "%w", err)
	}
	return nil
}
