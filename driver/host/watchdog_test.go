package host

import (
	"bufio"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// The conversation, without a file system: nothing is frozen, and time is not waited for.
func TestWatchdogEndsWhenAskedOrLeftAlone(t *testing.T) {
	for what, c := range map[string]struct {
		parent func(io.WriteCloser)
		thawed bool
		after  time.Duration
	}{
		"asked":  {func(w io.WriteCloser) { say(t, w, watchdogThaw) }, true, 0},
		"left":   {func(w io.WriteCloser) { _ = w.Close() }, false, 0},
		"silent": {func(io.WriteCloser) {}, false, freezePatience},
		"beat and left": {func(w io.WriteCloser) {
			say(t, w, watchdogBeat)
			time.Sleep(freezePatience - 1)
			say(t, w, watchdogBeat)
			_ = w.Close()
		}, false, freezePatience - 1},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, parent := io.Pipe()
				answers, out := io.Pipe()
				ended := make(chan error, 1)
				start := time.Now()
				go func() {
					err := watch(t.Context(), nil, in, out)
					_ = out.Close()
					ended <- err
				}()
				lines := bufio.NewScanner(answers)
				if !lines.Scan() || lines.Text() != watchdogFrozen {
					t.Fatalf("the watchdog began with %q", lines.Text())
				}
				c.parent(parent)
				thawed := lines.Scan() && lines.Text() == watchdogThawed
				if err := <-ended; err != nil || thawed != c.thawed || time.Since(start) != c.after {
					t.Errorf("it ended after %v with %v, and said that it thawed as asked: %t", time.Since(start), err, thawed)
				}
				_ = parent.Close()
			})
		})
	}
}

func say(t *testing.T, w io.Writer, line string) {
	if _, err := fmt.Fprintln(w, line); err != nil {
		t.Error(err)
	}
}
