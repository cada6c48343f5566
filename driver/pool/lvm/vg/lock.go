package vg

import (
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

// lockPoll is how often a lock is tried that somebody else has.
const lockPoll = 10 * time.Millisecond

// Lock takes the lock that LVM has on a volume group while it changes it, so that nobody else changes anything until
// release. LVM may remove the file when it lets go, so the lock counts only on the file that is there.
func (v *Group) Lock(ctx context.Context) (release func() error, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	directory, err := v.locksOfLVM(ctx)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(directory, "V_"+v.of.Name)
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, volume.Errorf(volume.Internal, "pool %q: LVM's lock: %w", v.of.Pool, err)
		}
		locked := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
		if locked && isAt(f, path) {
			return f.Close, nil
		}
		if err := f.Close(); err != nil {
			return nil, volume.Errorf(volume.Internal, "pool %q: LVM's lock: %w", v.of.Pool, err)
		}
		select {
		case <-ctx.Done():
			return nil, volume.Errorf(volume.Unavailable, "pool %q: volume group %q is locked by a command of LVM: %w", v.of.Pool, v.of.Name, ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}

// lockedOut explains the error of a command that did not end by itself: LVM waits for its lock as long as somebody else has it, which may be
// an administrator's command that asks a question. The kind of its error is Unavailable where that is so.
func (v *Group) lockedOut(ctx context.Context, err error) error {
	directory, unknown := v.locksOfLVM(ctx)
	if unknown != nil {
		return err
	}
	path := filepath.Join(directory, "V_"+v.of.Name)
	f, openErr := os.Open(path)
	if openErr != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only its lock is asked for
	if !errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK) {
		return err
	}
	return volume.Errorf(volume.Unavailable, "pool %q: another command of LVM has volume group %q locked: see which one it is (fuser --verbose %s) and what it waits for (%w)", v.of.Pool, v.of.Name, path, err)
}

// isAt reports whether the open file is still the one at path.
func isAt(f *os.File, path string) bool {
	opened, err := f.Stat()
	there, thereErr := os.Stat(path)
	return err == nil && thereErr == nil && os.SameFile(opened, there)
}

// locksOfLVM returns the directory that LVM has its locks in. It is not given to commands, as other settings are: who gives
// LVM another one than its neighbours would change the group beside them.
func (v *Group) locksOfLVM(ctx context.Context) (string, error) {
	v.seen.Lock()
	known := v.locks
	v.seen.Unlock()
	if known != "" {
		return known, nil
	}
	const key = "global/locking_dir"
	out, err := v.of.Runner.Run(ctx, host.Command{Name: "lvm", Args: []string{"lvmconfig", "--config", settings(v.of.Name, ""), "--typeconfig", "full", key}, Timeout: commandTimeout})
	if err != nil {
		return "", volume.Errorf(volume.Internal, "pool %q: where LVM has its locks (lvmconfig %s): %w", v.of.Pool, key, err)
	}
	_, value, _ := strings.Cut(strings.TrimSpace(string(out)), "=")
	directory, err := strconv.Unquote(value)
	if err != nil || !filepath.IsAbs(directory) {
		return "", volume.Errorf(volume.Internal, "pool %q: lvmconfig says of %s: %.200q, which is no directory", v.of.Pool, key, out)
	}
	v.seen.Lock()
	defer v.seen.Unlock()
	v.locks = directory
	return directory, nil
}
