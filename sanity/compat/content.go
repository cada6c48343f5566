package compat

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile writes bytes that depend on the name only, and syncs them.
func WriteFile(dir, name string, size int) error {
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return writeAt(path, os.O_CREATE|os.O_EXCL, name, 0, size)
}

// WriteDevice writes such bytes into a block device.
func WriteDevice(path, name string, offset int64, size int) error {
	return writeAt(path, 0, name, offset, size)
}

// Text returns the bytes that WriteFile writes. An archive makes them small, and no block of them is like another.
func Text(name string, size int) []byte {
	text := make([]byte, 0, size+len(name)+20)
	for i := 0; len(text) < size; i++ {
		text = fmt.Appendf(text, "%s %d\n", name, i)
	}
	return text[:size]
}

func writeAt(path string, flags int, name string, offset int64, size int) error {
	file, err := os.OpenFile(path, os.O_WRONLY|flags, 0o644)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(Text(name, size), offset)
	return errors.Join(err, file.Sync(), file.Close())
}

// ReadFiles returns the checksums of the files below dir.
func ReadFiles(dir string) (map[string]string, error) {
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err == nil {
			sums[name], err = Sum(path)
		}
		return err
	})
	return sums, err
}

// Sum returns the checksum of a file or of a block device.
func Sum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	_, err = io.Copy(hash, file)
	return hex.EncodeToString(hash.Sum(nil)), errors.Join(err, file.Close())
}
