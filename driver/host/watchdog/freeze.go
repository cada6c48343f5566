package watchdog

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/loam-storage/loam/driver/host/devicemapper"
)

// freezing is a number of targets that are being frozen, beside each other: the kernel waits for all processors several
// times in each freeze, and writes out what each file system holds back.
type freezing struct {
	outcomes chan outcome
	pending  []string // not frozen yet
	frozen   []string // by us
	others   []string // frozen already, by somebody else
}

type outcome struct {
	target string
	err    error
}

// begin begins to freeze the targets. One alone is frozen when it returns: nobody else has to be thawed meanwhile, and no thread
// has to be made for it.
func begin(targets []string) *freezing {
	f := &freezing{outcomes: make(chan outcome, len(targets)), pending: slices.Clone(targets)}
	one := func(target string) { f.outcomes <- outcome{target: target, err: freeze(target)} }
	if len(targets) == 1 {
		one(targets[0])
		return f
	}
	for _, target := range targets {
		go one(target)
	}
	return f
}

// wait waits until all are frozen. It gives up where one cannot be, where one is not within Patience of the first that was, since
// the writers of that one wait, and when the parent goes or asks to thaw. What is frozen then is in f.
func (f *freezing) wait(further <-chan string, out io.Writer) error {
	var tooLate <-chan time.Time
	for len(f.pending) > 0 {
		select {
		case o := <-f.outcomes:
			if err := f.take(o, out); err != nil {
				return err
			}
			if tooLate == nil && len(f.frozen) > 0 {
				tooLate = time.After(Patience)
			}
		case <-tooLate:
			return errors.New(quoted(f.pending) + " did not freeze within " + Patience.String() + " after " + quoted(f.frozen) + ", which was thawed: the disk is slow or does not answer")
		case line, open := <-further:
			if !open || line == Thaw {
				return errors.New("nobody waits for the freeze any more")
			}
		}
	}
	return nil
}

// take notes how one freeze ended. That somebody else has frozen a file system it says as soon as it knows: the parent must not
// thaw that, should this process be killed. A device-mapper device that somebody else has suspended, or whose file system is
// frozen, is an error.
func (f *freezing) take(o outcome, out io.Writer) error {
	f.pending = slices.DeleteFunc(f.pending, func(target string) bool { return target == o.target })
	switch {
	case o.err == nil:
		f.frozen = append(f.frozen, o.target)
	case errors.Is(o.err, syscall.EBUSY) && isMountPoint(o.target):
		f.others = append(f.others, o.target)
		return say(out, Other+strconv.Quote(o.target))
	case errors.Is(o.err, syscall.EBUSY):
		return wrap(strconv.Quote(o.target)+" is frozen by somebody else: thaw it with fsfreeze --unfreeze, or wait", o.err)
	default:
		return wrap("freeze "+strconv.Quote(o.target), o.err)
	}
	return nil
}

// thawFrozen thaws what this process has frozen, beside each other, so that one that hangs holds up no other. An error means that
// somebody else has thawed one before, so that what was copied meanwhile is not of one instant.
func (f *freezing) thawFrozen() error {
	return each(f.frozen, func(target string) error {
		return wrap("thaw "+strconv.Quote(target), thaw(target))
	})
}

// thawPending waits for the freezes that are still under way, which nothing can end, and thaws each as it comes.
func (f *freezing) thawPending() error {
	var errs []error
	for range f.pending {
		if o := <-f.outcomes; o.err == nil {
			errs = append(errs, ThawIfFrozen(o.target))
		}
	}
	return errors.Join(errs...)
}

// thawLeft thaws what may be frozen: file systems beside each other, and devices one after the other from the end, for one may
// lie on those after it.
func thawLeft(targets []string) error {
	var mountPoints []string
	var devices error
	for _, target := range slices.Backward(targets) {
		if isMountPoint(target) {
			mountPoints = append(mountPoints, target)
		} else {
			devices = errors.Join(devices, ThawIfFrozen(target))
		}
	}
	return errors.Join(devices, each(mountPoints, ThawIfFrozen))
}

func each(targets []string, do func(target string) error) error {
	if len(targets) == 1 {
		return do(targets[0])
	}
	errs := make([]error, len(targets))
	var all sync.WaitGroup
	for i, target := range targets {
		all.Go(func() { errs[i] = do(target) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// ThawIfFrozen thaws a target: the path of a mount point (FITHAW), or the name of a device-mapper device, which is resumed. One that is
// not frozen stays as it is.
func ThawIfFrozen(target string) error {
	err := thaw(target)
	if errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return wrap("thaw "+strconv.Quote(target), err)
}

func freeze(target string) error {
	if isMountPoint(target) {
		return freezeIoctl(target, fiFreeze)
	}
	return devicemapper.Suspend(target)
}

// thaw fails with EINVAL where the target is not frozen.
func thaw(target string) error {
	if isMountPoint(target) {
		return freezeIoctl(target, fiThaw)
	}
	return devicemapper.Resume(target)
}

// Numbers of the kernel (linux/fs.h).
const (
	fiFreeze = 0xc0045877 // FIFREEZE, _IOWR('X', 119, int)
	fiThaw   = 0xc0045878 // FITHAW,   _IOWR('X', 120, int)
)

func freezeIoctl(mountPoint string, request uintptr) error {
	dir, err := syscall.Open(mountPoint, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(dir), request, 0); errno != 0 {
		err = errno
	}
	return errors.Join(err, syscall.Close(dir))
}
