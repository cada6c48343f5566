package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

//go:embed init.sh
var initScript string

// made is the source of what makes the image, so that a change of it makes a new one.
//
//go:embed init.sh image.go tools.go kernel.go cpio.go
var made embed.FS

// image is what every run boots.
type image struct {
	kernel    string
	initramfs *os.File
}

// buildImage gives the image in the cache, made anew if there is none or if what it is made of has
// changed since: the tools of this machine, the kernel, or the source here. The kernel stays the one that
// was fetched first, until the cache is removed.
func buildImage(cache string) (image, error) {
	if runtime.GOARCH != "amd64" {
		return image{}, fmt.Errorf("the VM is made for amd64, and this is %s", runtime.GOARCH)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return image{}, err
	}
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return image{}, err
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil { // two runs may start at once
		return image{}, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	files, err := findTools()
	if err != nil {
		return image{}, err
	}
	k, err := fetchKernel(cache)
	if err != nil {
		return image{}, err
	}
	key, err := imageKey(k, files)
	if err != nil {
		return image{}, err
	}
	name := filepath.Join(cache, "initramfs-"+key)
	if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) {
		note("making the image of Linux %s", k.release)
		old, _ := filepath.Glob(filepath.Join(cache, "initramfs-*"))
		if err := writeImage(name, cache, k, files); err != nil {
			return image{}, err
		}
		for _, file := range old { // who needs it has it open
			_ = os.Remove(file)
		}
	}
	initramfs, err := os.Open(name)
	return image{k.image(), initramfs}, err
}

func imageKey(k kernel, files []string) (string, error) {
	sum := sha256.New()
	sources, err := made.ReadDir(".")
	if err != nil {
		return "", err
	}
	for _, source := range sources {
		text, err := made.ReadFile(source.Name())
		if err != nil {
			return "", err
		}
		_, _ = sum.Write(text)
	}
	for _, file := range append(files, k.image(), "/etc/lvm/lvm.conf", "/etc/mke2fs.conf") {
		info, err := os.Stat(file)
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintln(sum, file, info.Size(), info.ModTime().UnixNano())
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

func writeImage(to, cache string, k kernel, files []string) (err error) {
	work, err := os.MkdirTemp(cache, "image.new-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	unfinished := filepath.Join(work, "initramfs")
	file, err := os.Create(unfinished)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(file, 1<<20)
	a := newArchive(buffered)
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		a.link("/"+dir, "usr/"+dir)
		a.dir("/usr/" + dir)
	}
	for _, dir := range []string{"/dev", "/proc", "/sys", "/run", "/tmp", "/mnt", "/root", "/scratch", "/var/tmp", "/var/lib"} {
		a.dir(dir)
	}
	err = errors.Join(addTools(a, files), addModules(a, k, work))
	for _, dir := range []string{"/etc/lvm/archive", "/etc/lvm/backup", "/etc/lvm/devices"} {
		a.dir(dir)
	}
	// The rest of it is Debian's own, as where loam is to run: without udevd, loam has to cope itself.
	a.copy("/etc/lvm/lvm.conf", "/etc/lvm/lvm.conf")
	a.copy("/etc/lvm/profile", "/etc/lvm/profile")
	a.copy("/etc/mke2fs.conf", "/etc/mke2fs.conf")
	a.link("/etc/mtab", "/proc/self/mounts")
	a.text("/etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n")
	a.text("/etc/group", 0o644, "root:x:0:\n")
	a.text("/init", 0o755, initScript)
	err = errors.Join(err, a.close(), buffered.Flush(), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(unfinished, to)
}

func note(format string, args ...any) { fmt.Fprintf(os.Stderr, "vm: "+format+"\n", args...) }

// run runs a command in dir. Its error has what the command said.
func run(dir, name string, args ...string) error {
	_, err := output(dir, name, args...)
	return err
}

func output(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var said, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err,
			strings.TrimSpace(complaint.String()))
	}
	return said.String(), nil
}
