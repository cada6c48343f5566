package host

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// exclusivePatience is how long openExclusive tries again.
const exclusivePatience = 2 * time.Second

// openExclusive opens a block device with O_EXCL: nobody else has it open so, and nobody has it mounted (open(2)).
// EBUSY otherwise. A process that is just being started has a copy of each file that is open here, until it runs its
// own program (fork(2)). So a device that was let go a moment ago may be held for a moment longer, and that is waited
// for; not where it is mounted.
func (h *Host) openExclusive(device string, mode int) (*os.File, error) {
	f, err := os.OpenFile(device, mode|unix.O_EXCL, 0)
	if !errors.Is(err, unix.EBUSY) {
		return f, err
	}
	if t, _ := livesOn(device); t != "" { // an error leaves it open: then it is waited for
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), exclusivePatience)
	defer cancel()
	err = again(ctx, loopPatience, func() error {
		f, err = os.OpenFile(device, mode|unix.O_EXCL, 0)
		return err
	}, unix.EBUSY)
	return f, err
}

// closeExclusive closes what was opened with O_EXCL, and returns when no process that is being started has a copy of
// it any more: what is started next, such as a mkfs, opens the device so itself.
func closeExclusive(f *os.File) error {
	err := f.Close()
	syscall.ForkLock.RLock() // whoever starts a process has it until that process runs
	defer syscall.ForkLock.RUnlock()
	return err
}
