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

	watchdogOther  = "frozen by somebody else: " // and which, quoted; before watchdogFrozen
	watchdogFrozen = "frozen"
	watchdogBeat   = "beat"
	watchdogHeld   = "held" // to a beat, where there are others
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

// watch freezes, waits for the parent to ask, to fall silent or to go, and thaws what it has frozen. What somebody else has
// frozen it only looks after.
func watch(ctx context.Context, targets []string, in io.Reader, out io.Writer) error {
	frozen, others, err := freezeAll(targets, out)
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
	asked, lost := waitForThaw(lines, others, out)
	if lost == nil && asked {
		lost = stillFrozen(others)
	}
	err = thawFrozen(frozen)
	switch {
	case err != nil || (!asked && lost == nil):
		return err
	case lost != nil:
		_, err = fmt.Fprintf(out, "%s%v\n", watchdogBusy, lost)
	default:
		_, err = fmt.Fprintln(out, watchdogThawed)
	}
	return err
}

// waitForThaw reports whether the parent asked, rather than fell silent or went. At each beat it looks whether the others are
// still frozen, and ends with an error where one is not.
func waitForThaw(lines <-chan string, others []string, out io.Writer) (asked bool, lost error) {
	for {
		select {
		case line, open := <-lines:
			if !open || line == watchdogThaw {
				return open, nil
			}
			if len(others) == 0 {
				continue
			}
			if err := stillFrozen(others); err != nil {
				return false, err
			}
			if _, err := fmt.Fprintln(out, watchdogHeld); err != nil {
				return false, nil // the parent has gone
			}
		case <-time.After(freezePatience):
			return false, nil
		}
	}
}

// freezeAll returns what it has frozen, also where it could not freeze all, and what was frozen already. That it says as soon
// as it knows: the parent must not thaw it, should this process be killed. A device-mapper device that somebody else has
// suspended, or whose file system is frozen, is an error.
func freezeAll(targets []string, out io.Writer) (frozen, others []string, err error) {
	for _, m := range targets {
		err := freeze(m)
		switch {
		case err == nil:
			frozen = append(frozen, m)
		case errors.Is(err, syscall.EBUSY) && isMountPoint(m):
			others = append(others, m)
			if _, err := fmt.Fprintf(out, "%s%q\n", watchdogOther, m); err != nil {
				return frozen, others, err
			}
		case errors.Is(err, syscall.EBUSY):
			return frozen, others, fmt.Errorf("%q is frozen by somebody else: thaw it with fsfreeze --unfreeze, or wait: %w", m, err)
		default:
			return frozen, others, fmt.Errorf("freeze %q: %w", m, err)
		}
	}
	return frozen, others, nil
}

// stillFrozen says whether somebody else still holds the file systems frozen: then no more freeze of them is allowed (FIFREEZE
// answers EBUSY). One that is allowed is taken back at once.
func stillFrozen(others []string) error {
	for _, m := range others {
		err := freeze(m)
		if errors.Is(err, syscall.EBUSY) {
			continue
		}
		if err == nil {
			err = errors.Join(errors.New("somebody has thawed it"), thaw(m))
		}
		return fmt.Errorf("%q was frozen by somebody else and did not stay so until it was copied: freeze it for longer, or leave that to the snapshot: %w", m, err)
	}
	return nil
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
