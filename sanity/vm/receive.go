package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// receive writes what the guest has sent to where -get says.
func (m *machine) receive(end ending) error {
	defer func() { _ = end.files.Close() }()
	var err error
	if end.missing != nil {
		err = fmt.Errorf("not in the guest: %s", strings.Join(end.missing, ", "))
	}
	if len(m.o.gets) == 0 {
		return err
	}
	if _, e := end.files.Seek(0, io.SeekStart); e != nil {
		return errors.Join(err, e)
	}
	for entries := tar.NewReader(end.files); ; {
		entry, e := entries.Next()
		if e == io.EOF {
			return err
		}
		if e == nil {
			e = m.receiveOne(entry, entries)
		}
		if e != nil {
			return errors.Join(err, fmt.Errorf("bring back what -get says: %w", e))
		}
	}
}

func (m *machine) receiveOne(entry *tar.Header, content io.Reader) error {
	to, err := destination(m.o.gets, entry.Name)
	if err != nil {
		return err
	}
	switch entry.Typeflag {
	case tar.TypeDir:
		return os.MkdirAll(to, 0o755)
	case tar.TypeReg:
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		file, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, entry.FileInfo().Mode().Perm())
		if err != nil {
			return err
		}
		_, err = io.Copy(file, content)
		return errors.Join(err, file.Close())
	}
	return nil // links and devices mean nothing here
}

// destination gives where on this machine a path of the guest goes, by the pairs of -get.
func destination(gets []string, name string) (string, error) {
	name = path.Clean("/" + name)
	for _, pair := range gets {
		guest, host, ok := strings.Cut(pair, ":")
		guest = path.Clean("/" + guest)
		if !ok {
			host = path.Base(guest)
		}
		below, found := strings.CutPrefix(name, guest)
		if found && (below == "" || strings.HasPrefix(below, "/")) {
			return filepath.Join(host, below), nil
		}
	}
	return "", fmt.Errorf("the guest sent %s, which is not asked for", name)
}
