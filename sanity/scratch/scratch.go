// Package scratch makes file systems for tests to work on, and sweeps up after tests that failed.
package scratch

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// FileSystem makes a file system of the given type in a sparse file in dir and mounts it below dir.
// It is there until remove is called.
func FileSystem(dir, fsType string, size volume.Size) (mountPoint string, remove func() error, err error) {
	image, mountPoint := filepath.Join(dir, fsType+".image"), filepath.Join(dir, fsType)
	file, err := os.Create(image)
	if err != nil {
		return "", nil, err
	}
	removeFiles := func() error { return errors.Join(os.Remove(mountPoint), os.Remove(image)) }
	err = errors.Join(file.Truncate(int64(size)), file.Close(), os.Mkdir(mountPoint, 0o700))
	if err == nil {
		err = Run("mkfs."+fsType, "-q", image)
	}
	if err == nil {
		err = Run("mount", "-o", "loop", image, mountPoint)
	}
	if err != nil {
		return "", nil, errors.Join(err, removeFiles())
	}
	return mountPoint, func() error {
		if err := Run("umount", mountPoint); err != nil {
			return err // and what is in it stays
		}
		return removeFiles()
	}, nil
}

// Sweep takes away the mounts and loop devices that a test has left below dir, as far as it can. It is
// for a test that has failed already: one that passed leaves nothing, and that is to be seen.
func Sweep(dir string) error {
	const rounds = 10 // a mount may hold a device, and a device the mount that its file is in
	for range rounds {
		mounts, devices, err := below(dir)
		if err != nil || len(mounts)+len(devices) == 0 {
			return err
		}
		for _, mountPoint := range slices.Backward(mounts) {
			_ = host.Thaw(mountPoint) // not every file system can be frozen
			_ = unix.Unmount(mountPoint, unix.UMOUNT_NOFOLLOW)
		}
		for _, device := range devices {
			_ = Run("losetup", "--detach", device)
		}
	}
	mounts, devices, err := below(dir)
	return errors.Join(fmt.Errorf("sweep %q: left are %q and %q", dir, mounts, devices), err)
}

// below returns what is mounted below dir, in the order in which it was, and the loop devices of files
// there.
func below(dir string) (mountPoints, devices []string, err error) {
	mounts, err := host.New(host.NewRunner()).Mounts()
	if err != nil {
		return nil, nil, err
	}
	for _, m := range mounts {
		if m.Target == dir || strings.HasPrefix(m.Target, dir+"/") {
			mountPoints = append(mountPoints, m.Target)
		}
	}
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range files {
		backing, err := os.ReadFile(file)
		if err == nil && strings.HasPrefix(string(backing), dir+"/") { // an error: it went meanwhile
			devices = append(devices, "/dev/"+strings.Split(file, "/")[3])
		}
	}
	return mountPoints, devices, err
}

// Run runs a command. Its error has what the command said.
func Run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
