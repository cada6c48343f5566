package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/loam-storage/loam/driver/volume"
)

// maxPathBytes is the longest path that a system call takes (PATH_MAX, its end counted in).
const maxPathBytes = 4095

// checkPath reads a path field of a request and returns the path as the mount table names it: the
// symbolic links in its directory followed (some machines keep /var/lib/kubelet behind one), the path
// itself not. The kind of its error is Invalid.
func checkPath(field, path string) (string, error) {
	switch {
	case path == "":
		return "", volume.Errorf(volume.Invalid, "%s is missing", field)
	case len(path) > maxPathBytes:
		return "", volume.Errorf(volume.Invalid, "%s is %d bytes long, the longest path is %d", field, len(path), maxPathBytes)
	case strings.ContainsFunc(path, unicode.IsControl):
		return "", volume.Errorf(volume.Invalid, "%s %q contains a control character", field, path)
	case !filepath.IsAbs(path):
		return "", volume.Errorf(volume.Invalid, "%s %q is not an absolute path", field, path)
	case slices.Contains(strings.Split(path, "/"), ".."):
		return "", volume.Errorf(volume.Invalid, "%s %q contains \"..\"", field, path)
	case filepath.Clean(path) == "/":
		return "", volume.Errorf(volume.Invalid, "%s %q is the root directory", field, path)
	}
	path = filepath.Clean(path)
	directory, err := filepath.EvalSymlinks(filepath.Dir(path))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return path, nil // nothing can be there; what that means is for the caller to say
	case errors.Is(err, syscall.ENAMETOOLONG):
		return "", volume.Errorf(volume.Invalid, "%s %q: %w", field, path, err)
	case err != nil:
		return "", volume.Errorf(volume.Internal, "%s %q: %w", field, path, err)
	}
	return filepath.Join(directory, filepath.Base(path)), nil
}

// makeTarget sees to it that there is an empty directory, or for a block volume an empty file, to
// mount on, and reports whether it made one. Only the last element of the path is made: the directory
// around it is the orchestrator's (spec, NodePublishVolume, target_path).
func makeTarget(path string, block bool) (made bool, err error) {
	err = checkEmpty(path, block)
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if block {
		var file *os.File
		if file, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640); err == nil {
			err = file.Close()
		}
	} else {
		err = os.Mkdir(path, 0o750)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, volume.Errorf(volume.InUse, "%q cannot be made, for the directory that it belongs in is not there", path)
	case err != nil:
		return false, volume.Errorf(volume.Internal, "make the target: %w", err)
	}
	return true, nil
}

// checkEmpty says whether something can be mounted at path without hiding anything: an empty
// directory, or for a block volume an empty file. The error is fs.ErrNotExist, with kind InUse, where
// nothing is there; Invalid where it is something else, such as a symbolic link, which could lead
// anywhere; InUse where it is not empty.
func checkEmpty(path string, block bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return volume.Errorf(volume.InUse, "%q is not there: %w", path, fs.ErrNotExist)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG):
		return volume.Errorf(volume.Invalid, "%q cannot be a target: %w", path, err)
	case err != nil:
		return volume.Errorf(volume.Internal, "look at the target: %w", err)
	case block && !info.Mode().IsRegular():
		return volume.Errorf(volume.Invalid, "%q is a %s, not an empty file", path, kindOf(info))
	case block && info.Size() > 0:
		return volume.Errorf(volume.InUse, "%q is a file with %d bytes in it, which the volume would hide", path, info.Size())
	case block:
		return nil
	case !info.IsDir():
		return volume.Errorf(volume.Invalid, "%q is a %s, not a directory", path, kindOf(info))
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return volume.Errorf(volume.Internal, "look into the target: %w", err)
	}
	if len(entries) > 0 {
		return volume.Errorf(volume.InUse, "directory %q is not empty: mounting there would hide %q", path, entries[0].Name())
	}
	return nil
}

// removeTarget removes the empty directory or file that makeTarget made; nil where nothing is there.
// Anything else is left as it is: nothing is ever removed together with what is in it.
func removeTarget(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG) {
		return nil
	}
	if err != nil {
		return volume.Errorf(volume.Internal, "look at the target: %w", err)
	}
	if err := checkEmpty(path, !info.IsDir()); err != nil {
		return volume.Errorf(volume.KindOf(err), "target is not removed: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return volume.Errorf(volume.Internal, "remove the target: %w", err)
	}
	return nil
}

func isDirectory(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// kindOf names what is at a path in the words of a message.
func kindOf(info fs.FileInfo) string {
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		return "symbolic link"
	case mode.IsDir():
		return "directory"
	case mode.IsRegular():
		return "regular file"
	default:
		return "special file"
	}
}
