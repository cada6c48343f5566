package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// What the watchdog is called and what it and its parent say to each other, a line each.
const (
	watchdogName = "loam-freeze-watchdog"
	watchdogFlag = "--freeze-watchdog" // a binary that does not call Watchdog refuses it as unknown
	thawFlag     = "--thaw-what-was-left"

	watchdogFrozen = "frozen"
	watchdogBeat   = "beat"
	watchdogThaw   = "thaw"
	watchdogThawed = "thawed"
	watchdogBusy   = "busy: "
)

// Watchdog reports whether this process was started to watch over frozen file systems, or to thaw some,
// and if so does that until they are thawed. The main function of a program that uses Freeze or
// ThawLeft calls it first, with os.Args, and returns if it is true.
func Watchdog(args []string) bool {
	if len(args) < 2 || args[0] != watchdogName || (args[1] != watchdogFlag && args[1] != thawFlag) {
		return false
	}
	// What ends the parent must not end the one that cleans up after it.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	var err error
	if args[1] == thawFlag {
		err = thawAll(args[2:])
	} else {
		err = watch(context.Background(), args[2:], os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, watchdogName+":", err)
		os.Exit(1)
	}
	return true
}

// watch freezes, waits for the parent to ask, to fall silent or to go, and thaws.
func watch(ctx context.Context, targets []string, in io.Reader, out io.Writer) error {
	frozen, err := freezeAll(targets)
	if err != nil {
		busy := ""
		if errors.Is(err, syscall.EBUSY) {
			busy = watchdogBusy
		}
		_, said := fmt.Fprintf(out, "%s%v\n", busy, err)
		return errors.Join(said, thawAll(frozen))
	}
	lines := make(chan string)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(in); scanner.Scan(); {
			select {
			case lines <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	if _, err := fmt.Fprintln(out, watchdogFrozen); err != nil {
		return errors.Join(err, thawAll(frozen))
	}
	asked := waitForThaw(lines)
	if err := thawFrozen(frozen); err != nil || !asked {
		return err
	}
	_, err = fmt.Fprintln(out, watchdogThawed)
	return err
}

// waitForThaw reports whether the parent asked, rather than fell silent or went.
func waitForThaw(lines <-chan string) bool {
	for {
		select {
		case line, open := <-lines:
			if !open || line == watchdogThaw {
				return open
			}
		case <-time.After(freezePatience):
			return false
		}
	}
}

// freezeAll returns what it has frozen, also where it could not freeze all.
func freezeAll(targets []string) (frozen []string, err error) {
	for _, m := range targets {
		if err := freeze(m); err != nil {
			if errors.Is(err, syscall.EBUSY) {
				return frozen, fmt.Errorf("%q is frozen by somebody else: thaw it with fsfreeze --unfreeze, or wait: %w", m, err)
			}
			return frozen, fmt.Errorf("freeze %q: %w", m, err)
		}
		frozen = append(frozen, m)
	}
	return frozen, nil
}

// thawFrozen thaws what this process has frozen. An error means that somebody else has thawed one
// before, so that what was copied meanwhile is not of one instant.
func thawFrozen(targets []string) error {
	var errs []error
	for _, m := range slices.Backward(targets) {
		if err := thaw(m); err != nil {
			errs = append(errs, fmt.Errorf("thaw %q: %w", m, err))
		}
	}
	return errors.Join(errs...)
}

// thawAll thaws what may be frozen.
func thawAll(targets []string) error {
	var errs []error
	for _, m := range slices.Backward(targets) {
		errs = append(errs, Thaw(m))
	}
	return errors.Join(errs...)
}
