// Package watchdog is the process that freezes file systems and device-mapper devices, and thaws them whatever becomes of loam.
// Any program that imports the package is one when it is started under Name, before most of its other packages are
// initialised (decision 23). So this package imports next to nothing.
package watchdog

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// Name is the first argument, the program's own name, of a watchdog.
const Name = "loam-freeze-watchdog"

// What a watchdog does, its second argument.
const (
	Watch    = "--freeze-watchdog"    // what it is told on its standard input
	ThawLeft = "--thaw-what-was-left" // thaw the further arguments
)

// What the parent says, a line each. The first lines are the targets, quoted (strconv.Quote).
const (
	Freeze = "freeze" // the targets before it
	Beat   = "beat"   // there is still work to do
	Thaw   = "thaw"
)

// What the watchdog answers, a line each. Any other line is an error in words.
const (
	Other  = "frozen by somebody else: " // and which, quoted; before Frozen
	Frozen = "frozen"
	Held   = "held" // to a beat, where there are others
	Thawed = "thawed"
	Busy   = "busy: " // and an error in words: somebody else has frozen or thawed
)

// Patience is how long a watchdog waits for a beat, and how long a target may take to freeze after the first of a group has.
const Patience = 10 * time.Second

// Package variables are initialised before main runs, and those of a package with few imports before those of most others.
var _ = runIfAsked(os.Args)

// runIfAsked does what a watchdog is started for and ends the process. It returns where this is no watchdog.
func runIfAsked(args []string) bool {
	if len(args) < 2 || args[0] != Name || (args[1] != Watch && args[1] != ThawLeft) {
		return false
	}
	// What ends the parent must not end the one that cleans up after it.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	var err error
	if args[1] == ThawLeft {
		err = thawLeft(args[2:])
	} else {
		err = watch(context.Background(), os.Stdin, os.Stdout)
	}
	if err != nil {
		_ = say(os.Stderr, Name+": "+err.Error())
		os.Exit(1)
	}
	os.Exit(0)
	return true
}

// watch freezes what it is told to, waits for the parent to ask, to fall silent or to go, and thaws what it has frozen. What
// somebody else has frozen it only looks after.
func watch(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	said := &lines{in: in}
	targets, asked, err := targetsOf(said)
	if err != nil || !asked {
		return err
	}
	f := begin(targets)
	further := said.follow(ctx)
	if err := f.wait(further, out); err != nil {
		busy := ""
		if errors.Is(err, syscall.EBUSY) {
			busy = Busy
		}
		thawErr := f.thawFrozen()
		sayErr := say(out, busy+oneLine(err))
		return errors.Join(sayErr, thawErr, f.thawPending())
	}
	if err := say(out, Frozen); err != nil {
		return errors.Join(err, f.thawFrozen())
	}
	asked, lost := waitForThaw(further, f.others, out)
	if lost == nil && asked {
		lost = stillFrozen(f.others)
	}
	err = f.thawFrozen()
	switch {
	case err != nil || (!asked && lost == nil):
		return err
	case lost != nil:
		err = say(out, Busy+oneLine(lost))
	default:
		err = say(out, Thawed)
	}
	return err
}

// targetsOf waits for what is to be frozen, for as long as the parent is there: nothing is yet. It reports false where the parent
// went, or thinks better of it.
func targetsOf(said *lines) (targets []string, asked bool, err error) {
	for line, there := said.next(); there; line, there = said.next() {
		if line == Freeze {
			return targets, true, nil
		}
		target, err := strconv.Unquote(line)
		if err != nil {
			return nil, false, wrap("read the target "+line, err)
		}
		targets = append(targets, target)
	}
	return nil, false, nil
}

// waitForThaw reports whether the parent asked, rather than fell silent or went. At each beat it looks whether the others are
// still frozen, and ends with an error where one is not.
func waitForThaw(lines <-chan string, others []string, out io.Writer) (asked bool, lost error) {
	for {
		select {
		case line, open := <-lines:
			if !open || line == Thaw {
				return open, nil
			}
			if len(others) == 0 {
				continue
			}
			if err := stillFrozen(others); err != nil {
				return false, err
			}
			if err := say(out, Held); err != nil {
				return false, nil // the parent has gone
			}
		case <-time.After(Patience):
			return false, nil
		}
	}
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
		return wrap(strconv.Quote(m)+" was frozen by somebody else and did not stay so until it was copied: freeze it for longer, or leave that to the snapshot", err)
	}
	return nil
}

// isMountPoint tells the path of a mount point from the name of a device-mapper device.
func isMountPoint(target string) bool { return target != "" && target[0] == '/' }
