package watchdog

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
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
		"asked":  {func(w io.WriteCloser) { tell(t, w, Thaw) }, true, 0},
		"left":   {func(w io.WriteCloser) { _ = w.Close() }, false, 0},
		"silent": {func(io.WriteCloser) {}, false, Patience},
		"beat and left": {func(w io.WriteCloser) {
			tell(t, w, Beat)
			time.Sleep(Patience - 1)
			tell(t, w, Beat)
			_ = w.Close()
		}, false, Patience - 1},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, parent := io.Pipe()
				answers, out := io.Pipe()
				ended := make(chan error, 1)
				go func() {
					err := watch(t.Context(), in, out)
					_ = out.Close()
					ended <- err
				}()
				time.Sleep(2 * Patience) // nothing is frozen yet
				tell(t, parent, Freeze)
				start := time.Now()
				lines := bufio.NewScanner(answers)
				if !lines.Scan() || lines.Text() != Frozen {
					t.Fatalf("the watchdog began with %q", lines.Text())
				}
				c.parent(parent)
				thawed := lines.Scan() && lines.Text() == Thawed
				if err := <-ended; err != nil || thawed != c.thawed || time.Since(start) != c.after {
					t.Errorf("it ended after %v with %v, and said that it thawed as asked: %t", time.Since(start), err, thawed)
				}
				_ = parent.Close()
			})
		})
	}
}

func tell(t *testing.T, w io.Writer, line string) {
	if _, err := fmt.Fprintln(w, line); err != nil {
		t.Error(err)
	}
}

func TestLinesAreReadWhole(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	lines := (&lines{in: iotest.OneByteReader(strings.NewReader("a\n\n" + long + "\nnot ended"))}).follow(t.Context())
	if got := slices.Collect(func(yield func(string) bool) {
		for line := range lines {
			if !yield(line) {
				return
			}
		}
	}); !slices.Equal(got, []string{"a", "", long}) {
		t.Errorf("%.100q", got)
	}
}

func TestTargetsAreQuoted(t *testing.T) {
	const odd = "/a\nfreeze\n\"b\" \xff"
	targets, asked, err := targetsOf(&lines{in: strings.NewReader(strconv.Quote(odd) + "\n\"c\"\n" + Freeze + "\n")})
	if err != nil || !asked || !slices.Equal(targets, []string{odd, "c"}) {
		t.Errorf("%q, %t, %v", targets, asked, err)
	}
	if targets, asked, err = targetsOf(&lines{in: strings.NewReader("\"a\"\n")}); asked || err != nil {
		t.Errorf("of a parent that went: %q, %t, %v", targets, asked, err)
	}
	if targets, asked, err = targetsOf(&lines{in: strings.NewReader("a\n" + Freeze + "\n")}); asked || err == nil {
		t.Errorf("of what is not quoted: %q, %t", targets, asked)
	}
}
