package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// tools is what the guest has of this machine's commands. What else a shell needs, busybox gives it.
const tools = `
	busybox bash lvm dmsetup fsadm thin_check
	mke2fs e2fsck resize2fs tune2fs dumpe2fs debugfs fsck
	mkfs.xfs xfs_growfs xfs_spaceman xfs_repair xfs_db xfs_io xfs_admin xfs_info
	mkfs.btrfs btrfs btrfstune
	mount umount findmnt blkid lsblk losetup blockdev wipefs fstrim fallocate fsfreeze blkdiscard nsenter unshare
	cp dd stat truncate timeout`

// packages are those of Debian that have the tools.
const packages = "busybox-static lvm2 dmsetup thin-provisioning-tools e2fsprogs xfsprogs btrfs-progs util-linux mount"

// findTools gives the files of the tools. They are looked for where root has them, too.
func findTools() ([]string, error) {
	var files, missing []string
	for _, tool := range strings.Fields(tools) {
		file, err := find(tool)
		if err != nil {
			missing = append(missing, tool)
		}
		files = append(files, file)
	}
	if missing != nil {
		return nil, fmt.Errorf("missing here: %s; Debian has them in %s", strings.Join(missing, " "), packages)
	}
	return files, nil
}

func find(tool string) (string, error) {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		file := filepath.Join(dir, tool)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return filepath.EvalSymlinks(file)
		}
	}
	return "", fmt.Errorf("no %s here: %w", tool, os.ErrNotExist)
}

// addTools puts the tools into the archive, with their libraries and the other names they have:
// pvcreate is a link to lvm, and mkfs.ext4 one to mke2fs.
func addTools(a *archive, files []string) error {
	for _, file := range files {
		if err := addProgram(a, file, place(file)); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			name := filepath.Join(dir, e.Name())
			to, err := filepath.EvalSymlinks(name)
			if err == nil && !a.has[place(name)] && slices.Contains(files, to) {
				a.link(place(name), place(to))
			}
		}
	}
	busybox, err := find("busybox")
	if err != nil {
		return err
	}
	applets, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return fmt.Errorf("%s --list: %w", busybox, err)
	}
	for _, applet := range strings.Fields(string(applets)) {
		if !a.has["/usr/bin/"+applet] && !a.has["/usr/sbin/"+applet] {
			a.link("/usr/bin/"+applet, place(busybox))
		}
	}
	a.link("/usr/sbin/modprobe", place(busybox)) // where the kernel looks for it
	return a.err
}

// addProgram copies a file, and the shared libraries it needs if it is a program that needs any.
func addProgram(a *archive, file, name string) error {
	a.copy(file, name)
	said, err := exec.Command("ldd", file).Output()
	if err != nil {
		return a.err // a script, a static program, a folder
	}
	for _, word := range strings.Fields(string(said)) {
		if filepath.IsAbs(word) {
			a.copy(word, place(word))
		}
	}
	return a.err
}
