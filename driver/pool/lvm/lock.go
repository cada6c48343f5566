package lvm

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

// lockPoll is how often a lock is tried that somebody else has.
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

// lockGroup takes the lock that LVM has on a volume group while it changes it, so that nobody else changes anything until
// release. LVM may remove the file when it lets go, so the lock counts only on the file that is there.
func (p *Pool) lockGroup(ctx context.Context) (release func() error, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	directory, err := p.locksOfLVM(ctx)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(directory, "V_"+p.config.VolumeGroup)
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, volume.Errorf(volume.Internal, "pool %q: LVM's lock: %w", p.name, err)
		}
		locked := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
		if locked && isAt(f, path) {
			return f.Close, nil
		}
		if err := f.Close(); err != nil {
			return nil, volume.Errorf(volume.Internal, "pool %q: LVM's lock: %w", p.name, err)
		}
		select {
		case <-ctx.Done():
			return nil, volume.Errorf(volume.Unavailable, "pool %q: volume group %q is locked by a command of LVM: %w", p.name, p.config.VolumeGroup, ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}

// lockedOut explains the error of a command that did not end by itself: LVM waits for its lock as long as somebody else has it, which may be
// an administrator's command that asks a question. The kind of its error is Unavailable where that is so.
func (p *Pool) lockedOut(ctx context.Context, err error) error {
	directory, unknown := p.locksOfLVM(ctx)
	if unknown != nil {
		return err
	}
	path := filepath.Join(directory, "V_"+p.config.VolumeGroup)
	f, openErr := os.Open(path)
	if openErr != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only its lock is asked for
	if !errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK) {
		return err
	}
	return volume.Errorf(volume.Unavailable, "pool %q: another command of LVM has volume group %q locked: see which one it is (fuser --verbose %s) and what it waits for (%w)", p.name, p.config.VolumeGroup, path, err)
}

// isAt reports whether the open file is still the one at path.
func isAt(f *os.File, path string) bool {
	opened, err := f.Stat()
	there, thereErr := os.Stat(path)
	return err == nil && thereErr == nil && os.SameFile(opened, there)
}

// locksOfLVM returns the directory that LVM has its locks in. It is not given to commands, as other settings are: who gives
// LVM another one than its neighbours would change the group beside them.
func (p *Pool) locksOfLVM(ctx context.Context) (string, error) {
	p.seen.Lock()
	known := p.locks
	p.seen.Unlock()
	if known != "" {
		return known, nil
	}
	const key = "global/locking_dir"
	out, err := p.runner.Run(ctx, host.Command{Name: "lvm", Args: []string{"lvmconfig", "--config", settings(p.config.VolumeGroup, ""), "--typeconfig", "full", key}, Timeout: commandTimeout})
	if err != nil {
		return "", volume.Errorf(volume.Internal, "pool %q: where LVM has its locks (lvmconfig %s): %w", p.name, key, err)
	}
	_, value, _ := strings.Cut(strings.TrimSpace(string(out)), "=")
	directory, err := strconv.Unquote(value)
	if err != nil || !filepath.IsAbs(directory) {
		return "", volume.Errorf(volume.Internal, "pool %q: lvmconfig says of %s: %.200q, which is no directory", p.name, key, out)
	}
	p.seen.Lock()
	defer p.seen.Unlock()
	p.locks = directory
	return directory, nil
}
