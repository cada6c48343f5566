package lvm

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// lockDirectory is where pools have their locks, and LVM its own unless its configuration says otherwise. A container shares it
// with its host.
const lockDirectory = "/run/lock/lvm"

// lockPatience is how long the lock of a pool is tried for. A command that a process was just starting when it was killed
// has the lock for a moment longer than the process.
const lockPatience = 5 * time.Second

// lockPoll is how often the lock is tried meanwhile.
const lockPoll = 10 * time.Millisecond

// takeLock keeps a second process from taking what this one makes for the leftovers of a crash. The
// kernel lets go of it when the process ends, in whatever way; the file says nothing.
func (p *Pool) takeLock() error {
	if err := os.MkdirAll(lockDirectory, 0o700); err != nil {
		return volume.Errorf(volume.Internal, "pool %q: %w", p.name, err)
	}
	path := filepath.Join(lockDirectory, "loam-"+p.name+"."+p.config.VolumeGroup) // a pool's name has no dot
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return volume.Errorf(volume.Internal, "pool %q: %w", p.name, err)
	}
	for until := time.Now().Add(lockPatience); ; time.Sleep(lockPoll) {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(until) {
			break
		}
	}
	if err != nil {
		err = volume.Errorf(volume.Unavailable, "pool %q in volume group %q is open in another loam (%s): a pool is served by one; stop that one, or give each loam pools of its own (%w)", p.name, p.config.VolumeGroup, cmp.Or(host.LockHolder(lock), "another process"), err)
		return errors.Join(err, lock.Close())
	}
	p.lock = lock
	return nil
}
