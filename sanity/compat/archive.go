package compat

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/sanity/scratch"
)

// Pack makes an archive of all that is in dir. What is zeros in its files is left out.
func Pack(dir, archive string) error {
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
			return err
		}
		return scratch.Run("fallocate", "--dig-holes", path)
	})
	if err != nil {
		return err
	}
	plain := archive + ".tar"
	err = scratch.Run("tar", "--create", "--sparse", "--format=gnu", "--sort=name", "--owner=0", "--group=0", "--mtime=@0", "--file", plain, "--directory", dir, ".")
	if err == nil {
		err = scratch.Run("sh", "-c", `gzip -9 --no-name <"$1" >"$2"`, "sh", plain, archive)
	}
	return errors.Join(err, os.Remove(plain))
}

// Unpack makes dir what it was when it was packed. A file named in into goes to that path instead, which may be
// a block device.
func Unpack(archive, dir string, into map[string]string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	for members := tar.NewReader(unzipped); ; {
		header, err := members.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := filepath.Clean(header.Name)
		path := filepath.Join(dir, name)
		if to, ok := into[name]; ok {
			path = to
		}
		switch {
		case header.Typeflag == tar.TypeDir:
			err = os.MkdirAll(path, header.FileInfo().Mode().Perm())
		case header.FileInfo().Mode().IsRegular():
			err = writeSparse(path, members, header)
		default:
			err = fmt.Errorf("%s has %q, which is no file and no directory", archive, name)
		}
		if err != nil {
			return err
		}
	}
}

// writeSparse writes what is not zeros. A file gets all of its blocks nevertheless, as a preallocated one
// has; a device is zeros where nothing is written.
func writeSparse(path string, from io.Reader, header *tar.Header) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, header.FileInfo().Mode().Perm())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Sync(), file.Close()) }()
	if info, err := file.Stat(); err != nil {
		return err
	} else if info.Mode().IsRegular() && header.Size > 0 {
		if err := unix.Fallocate(int(file.Fd()), 0, 0, header.Size); err != nil {
			return err
		}
	}
	const step = 64 << 10
	chunk, zeros := make([]byte, step), make([]byte, step)
	for offset := int64(0); ; offset += step {
		n, err := io.ReadFull(from, chunk)
		if n > 0 && !bytes.Equal(chunk[:n], zeros[:n]) {
			if _, err := file.WriteAt(chunk[:n], offset); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
