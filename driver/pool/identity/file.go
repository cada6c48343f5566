package identity

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/loam-storage/loam/driver/host"
)

// WriteFile gives the file that content, so that it has either the old or the new one when the power goes, and the
// new one when this has returned.
func WriteFile(path string, text []byte) error {
	file, err := os.OpenFile(path+temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(path+temporary, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path+temporary))
	}
	return host.SyncDirectory(filepath.Dir(path))
}

// MakeDirectory makes the directory and those above it that are not there, durably.
func MakeDirectory(path string) error {
	err := os.Mkdir(path, 0o700)
	switch {
	case errors.Is(err, fs.ErrExist):
		info, err := os.Stat(path)
		if err == nil && !info.IsDir() {
			err = &fs.PathError{Op: "mkdir", Path: path, Err: errors.New("there is something else of that name")}
		}
		return err
	case errors.Is(err, fs.ErrNotExist) && filepath.Dir(path) != path:
		if err := MakeDirectory(filepath.Dir(path)); err != nil {
			return err
		}
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case err != nil:
		return err
	}
	return host.SyncDirectory(filepath.Dir(path))
}

// ReadFile reads the identity in a file. The error is fs.ErrNotExist where there is none.
func ReadFile(path string) (*Identity, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	i, err := Parse(text)
	if err != nil {
		return nil, err
	}
	return &i, nil
}
