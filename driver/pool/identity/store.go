package identity

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// DefaultState is where a machine keeps what is not on a pool.
const DefaultState = "/var/lib/loam"

const (
	knownDir  = ".known"
	temporary = ".new" // ends no pool's name, which has no dot
)

// Store is what a machine knows of the pools that it has opened: a file for each in Directory/.known. With an empty
// Directory nothing is known and nothing is kept, which is for pools that are thrown away.
type Store struct{ Directory string }

// Known is a pool that the machine has opened.
type Known struct {
	Pool  Identity `json:"pool"`
	Where string   `json:"where"` // as in Place
}

func (s Store) path(pool string) string { return filepath.Join(s.Directory, knownDir, pool) }

// Known returns what is known under that name; nil if it was never opened. An entry that cannot be read is an
// error, whose kind is Unavailable: the pool must not be taken for a new one.
func (s Store) Known(pool string) (*Known, error) {
	if s.Directory == "" {
		return nil, nil
	}
	text, err := os.ReadFile(s.path(pool))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, volume.Errorf(volume.Unavailable, "which pool this machine has opened under that name: %w", err)
	}
	var k Known
	if err := json.Unmarshal(text, &k); err == nil {
		err = k.Pool.Check()
		if err == nil {
			return &k, nil
		}
	}
	return nil, volume.Errorf(volume.Unavailable, "%q, which says which pool this machine has opened under that name, is damaged: loam pools --forget %s removes it, and then whatever is there is opened", s.path(pool), pool)
}

// knownAs returns the entry of another name with that id; nil if there is none.
func (s Store) knownAs(id, except string) (*Known, error) {
	entries, err := s.entries()
	if err != nil {
		return nil, err
	}
	for _, name := range entries {
		if name == except {
			continue
		}
		k, err := s.Known(name)
		if err == nil && k != nil && k.Pool.ID == id { // a damaged one is told to who opens that pool
			return k, nil
		}
	}
	return nil, nil
}

func (s Store) entries() ([]string, error) {
	if s.Directory == "" {
		return nil, nil
	}
	all, err := os.ReadDir(filepath.Join(s.Directory, knownDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range all {
		if !strings.HasSuffix(e.Name(), temporary) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Keep remembers, durably, that the pool was opened, and keeps others from forgetting it until release is called, or
// the process ends. The pool's own identity has to be durable before.
func (s Store) Keep(k Known) (release func() error, err error) {
	if s.Directory == "" {
		return func() error { return nil }, nil
	}
	unlock, err := s.lock(true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	before, err := s.Known(k.Pool.Pool)
	if err != nil {
		return nil, err
	}
	if before == nil || *before != k {
		if err := s.write(k); err != nil {
			return nil, volume.Errorf(volume.Unavailable, "remember the pool in %q: %w", s.Directory, err)
		}
	}
	held, err := os.Open(s.path(k.Pool.Pool))
	if err != nil {
		return nil, err
	}
	if err := flock(held, syscall.LOCK_SH); err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return held.Close, nil
}

func (s Store) write(k Known) error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return WriteFile(s.path(k.Pool.Pool), append(text, '\n'))
}

// Forget removes what is known under that name and returns it, as it was written. The kind of its error is NotFound where
// nothing is, and InUse where a process has the pool open.
func (s Store) Forget(pool string) (text []byte, err error) {
	missing := volume.Errorf(volume.NotFound, "pool %q: this machine has opened none of that name (%q)", pool, s.path(pool))
	if err := volume.CheckPoolName(pool); err != nil {
		return nil, err
	}
	unlock, err := s.lock(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	entry, err := os.Open(s.path(pool))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	defer entry.Close() //nolint:errcheck // only read
	if err := flock(entry, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, volume.Errorf(volume.InUse, "pool %q is open in a loam that serves it: stop that one first (%w)", pool, err)
	}
	if text, err = os.ReadFile(s.path(pool)); err != nil {
		return nil, err
	}
	if err := os.Remove(s.path(pool)); err != nil {
		return nil, err
	}
	return text, host.SyncDirectory(filepath.Dir(s.path(pool)))
}

// lock keeps other processes from changing what is known, for the moment that it takes. The error is
// fs.ErrNotExist where nothing is known and the directory is not to be made.
func (s Store) lock(makeIt bool) (unlock func() error, err error) {
	dir := filepath.Join(s.Directory, knownDir)
	if makeIt {
		if err := MakeDirectory(dir); err != nil {
			return nil, volume.Errorf(volume.Unavailable, "remember pools in %q: %w", s.Directory, err)
		}
	}
	held, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := flock(held, syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return held.Close, nil
}

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
