package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is what stays the same from boot to boot: the disks, and what the guest is given. Its files have
// no name, so that nothing is left of them however the launcher ends; QEMU opens them by descriptor.
type machine struct {
	o       options
	img     image
	disks   []*os.File
	scratch *os.File
}

func newMachine(o options, img image) (*machine, error) {
	m := &machine{o: o, img: img}
	for i, size := range o.disks {
		bytes, err := parseSize(size)
		if err != nil {
			return nil, fmt.Errorf("-disk %s: %w", size, err)
		}
		disk, err := openDisk(o.keepDisks, i, bytes)
		if err != nil {
			return nil, err
		}
		m.disks = append(m.disks, disk)
	}
	bytes, err := parseSize(o.scratch)
	if err != nil {
		return nil, fmt.Errorf("-scratch %s: %w", o.scratch, err)
	}
	m.scratch, err = nameless(os.TempDir())
	if err != nil {
		return nil, err
	}
	mkfs, err := find("mke2fs")
	if err != nil {
		return nil, err
	}
	scratch := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), m.scratch.Fd())
	return m, errors.Join(m.scratch.Truncate(bytes), run("/", mkfs, "-q", "-F", "-t", "ext4", scratch))
}

func (m *machine) close() {
	for _, disk := range append(m.disks, m.scratch) {
		_ = disk.Close()
	}
}

// parseSize reads a number of bytes with a binary suffix, K to T.
func parseSize(text string) (int64, error) {
	var n int64
	var suffix string
	if fields, err := fmt.Sscanf(text, "%d%s", &n, &suffix); fields < 1 || n <= 0 || n >= 1<<20 {
		return 0, fmt.Errorf("it is no size such as 4G: %w", err)
	}
	power := strings.Index("KMGT", suffix)
	if suffix == "" || power < 0 || len(suffix) != 1 {
		return 0, errors.New("it is no size with K, M, G or T at its end")
	}
	return n << (10 * (power + 1)), nil
}

// openDisk makes a sparse file that is a disk, or takes the one that an earlier run has kept.
func openDisk(keep string, number int, size int64) (*os.File, error) {
	if keep == "" {
		disk, err := nameless(os.TempDir())
		if err != nil {
			return nil, err
		}
		return disk, disk.Truncate(size)
	}
	if err := os.MkdirAll(keep, 0o755); err != nil {
		return nil, err
	}
	disk, err := os.OpenFile(filepath.Join(keep, fmt.Sprintf("disk%d", number)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := disk.Stat()
	if err == nil && info.Size() != 0 && info.Size() != size {
		err = fmt.Errorf("%s is kept with %d bytes, and asked for with %d", disk.Name(), info.Size(), size)
	}
	return disk, errors.Join(err, disk.Truncate(size))
}

// nameless makes a file that is gone when nobody has it open.
func nameless(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), dir), nil
	}
	file, err := os.CreateTemp(dir, "loam-vm-") // not every file system can do the former
	if err != nil {
		return nil, err
	}
	return file, os.Remove(file.Name())
}

// initramfs makes that of a boot: the image's, followed by what the guest is given.
func (m *machine) initramfs(boot int) (*os.File, error) {
	file, err := nameless(os.TempDir())
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(file, io.NewSectionReader(m.img.initramfs, 0, 1<<40)); err != nil {
		return nil, err
	}
	a := newArchive(file)
	command := slices.Clone(m.o.command)
	given := slices.Clone(m.o.files)
	if strings.Contains(command[0], "/") {
		if command[0], err = filepath.Abs(command[0]); err != nil {
			return nil, err
		}
		if info, err := os.Stat(command[0]); err == nil && info.Mode().IsRegular() {
			given = append(given, command[0])
		}
	}
	for _, pair := range given {
		from, to, err := hostAndGuest(pair)
		if err != nil {
			return nil, err
		}
		if err := addProgram(a, from, place(to)); err != nil {
			return nil, err
		}
	}
	gets := ""
	for _, pair := range m.o.gets {
		guest, _, _ := strings.Cut(pair, ":")
		gets += guest + "\n"
	}
	a.text("/vm/command", 0o755, "exec "+quote(command...)+"\n")
	a.text("/vm/env", 0o644, m.variables(boot))
	a.text("/vm/get", 0o644, gets)
	return file, a.close()
}

// hostAndGuest parses HOST[:GUEST].
func hostAndGuest(pair string) (host, guest string, err error) {
	host, guest, ok := strings.Cut(pair, ":")
	if host, err = filepath.Abs(host); !ok {
		guest = host
	}
	return host, guest, err
}

func (m *machine) variables(boot int) string {
	var disks []string
	for i := range m.disks {
		disks = append(disks, fmt.Sprintf("/dev/vd%c", 'a'+i))
	}
	own := []string{"LOAM_TEST_DISKS=" + strings.Join(disks, " "), fmt.Sprintf("LOAM_TEST_BOOT=%d", boot), fmt.Sprintf("LOAM_TEST_CUTS=%d", len(m.o.cuts))}
	lines := ""
	for _, variable := range append(own, m.o.env...) {
		name, value, _ := strings.Cut(variable, "=")
		lines += "export " + name + "=" + quote(value) + "\n"
	}
	return lines
}

// quote writes words for a shell.
func quote(words ...string) string {
	var quoted []string
	for _, word := range words {
		quoted = append(quoted, "'"+strings.ReplaceAll(word, "'", `'\''`)+"'")
	}
	return strings.Join(quoted, " ")
}
