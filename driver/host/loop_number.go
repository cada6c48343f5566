package host

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// loopNumbers gives out the numbers of free loop devices. The kernel gives everybody who asks the same one until it has
// a file, so those that calls of this process are just setting up are kept here.
type loopNumbers struct {
	mu    sync.Mutex
	taken map[int]bool
}

// take returns the least number of a device that has no file, is not to be skipped, and that no other call is given until
// release. The device is made where it is not there.
func (n *loopNumbers) take(skip func(number int) bool) (number int, release func(), err error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, control.Close()) }()
	n.mu.Lock()
	defer n.mu.Unlock()
	fd := int(control.Fd())
	number, err = unix.IoctlRetInt(fd, unix.LOOP_CTL_GET_FREE) // the least
	for err == nil && (n.taken[number] || skip(number)) {
		number, err = nextFreeLoop(fd, number)
	}
	if err != nil {
		return 0, nil, err
	}
	n.taken[number] = true
	return number, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.taken, number)
	}, nil
}

// nextFreeLoop returns the next number after the given one of a device that has no file, and makes that device
// where it is not there.
func nextFreeLoop(control, after int) (int, error) {
	for number := after + 1; ; number++ {
		if unix.Access(fmt.Sprintf("/sys/block/loop%d/loop", number), unix.F_OK) == nil { // it has a file
			continue
		}
		if err := unix.IoctlSetInt(control, unix.LOOP_CTL_ADD, number); err != nil && !errors.Is(err, unix.EEXIST) {
			return 0, err
		}
		return number, nil
	}
}
