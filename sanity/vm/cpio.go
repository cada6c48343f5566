package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// archive writes an initramfs: entries in the "newc" form of cpio, as the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst has them. The kernel unpacks archives that
// follow one another, so that what is of one run needs no copy of the base taken apart.
type archive struct {
	out  io.Writer
	size int64
	has  map[string]bool // guest paths that are in it
	err  error           // the first; nothing is written after it
}

func newArchive(out io.Writer) *archive { return &archive{out: out, has: map[string]bool{"/": true}} }

// place gives where a path of this machine is in the guest, in which /bin, /sbin, /lib and /lib64 are
// links to what is in /usr, as in Debian.
func place(file string) string {
	file = path.Clean("/" + file)
	switch top, _, _ := strings.Cut(file[1:], "/"); top {
	case "bin", "sbin", "lib", "lib64":
		return "/usr" + file
	}
	return file
}

func (a *archive) dir(name string) {
	if name = path.Clean(name); a.has[name] {
		return
	}
	a.dir(path.Dir(name))
	a.entry(name, 0o040755, 0, nil)
}

func (a *archive) link(name, target string) {
	a.dir(path.Dir(name))
	a.entry(name, 0o120777, int64(len(target)), strings.NewReader(target))
}

func (a *archive) text(name string, mode os.FileMode, content string) {
	a.dir(path.Dir(name))
	a.entry(name, 0o100000|uint32(mode.Perm()), int64(len(content)), strings.NewReader(content))
}

// copy takes a file of this machine in, or all that is in a folder.
func (a *archive) copy(from, name string) {
	if a.err != nil || a.has[name] {
		return
	}
	info, err := os.Stat(from)
	if err != nil {
		a.err = err
		return
	}
	if info.IsDir() {
		a.dir(name)
		entries, err := os.ReadDir(from)
		if err != nil {
			a.err = err
		}
		for _, e := range entries {
			a.copy(path.Join(from, e.Name()), path.Join(name, e.Name()))
		}
		return
	}
	file, err := os.Open(from)
	if err != nil {
		a.err = err
		return
	}
	defer func() { _ = file.Close() }()
	a.dir(path.Dir(name))
	a.entry(name, 0o100000|uint32(info.Mode().Perm()), info.Size(), file)
}

func (a *archive) entry(name string, mode uint32, size int64, content io.Reader) {
	a.has[name] = true
	if size >= 1<<32 {
		a.err = fmt.Errorf("%s has %d bytes, and an initramfs takes files below 4 GiB", name, size)
	}
	a.header(strings.TrimPrefix(name, "/"), mode, size)
	if content == nil || a.err != nil {
		return
	}
	n, err := io.Copy(a, io.LimitReader(content, size))
	if err == nil && n != size {
		err = fmt.Errorf("%s shrank while it was read", name)
	}
	a.err = err
	a.pad(4)
}

// header writes what precedes the content of an entry. Owner and time are zero, and every entry has an
// inode of its own: nothing is a hard link.
func (a *archive) header(name string, mode uint32, size int64) {
	_, _ = fmt.Fprintf(a, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		len(a.has), mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0, name)
	a.pad(4)
}

func (a *archive) pad(to int64) { _, _ = a.Write(bytes.Repeat([]byte{0}, int(-a.size&(to-1)))) }

// Write writes bytes of the archive as they are.
func (a *archive) Write(p []byte) (int, error) {
	if a.err != nil {
		return 0, a.err
	}
	n, err := a.out.Write(p)
	a.size, a.err = a.size+int64(n), err
	return n, err
}

func (a *archive) close() error {
	a.header("TRAILER!!!", 0, 0)
	a.pad(512)
	return a.err
}
